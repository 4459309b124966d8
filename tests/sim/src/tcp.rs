//! A fake TCP connection: two byte queues, reliable and in order, with bounded
//! buffers, delay, FIN and RST. A lost segment shows as a long delay.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Which end of a connection: 0 opened it, 1 accepted it.
pub type Side = usize;

/// How a connection's segments travel.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// One-way delay, in nanoseconds.
    pub delay: u64,
    /// Percentage of segments that need a retransmission.
    pub loss: u32,
    /// Bytes that a sender may have in flight, and that a receiver may hold.
    pub buffer: usize,
}

impl Path {
    /// Between two guests of one machine: 100 us, no loss, buffers of 8 KiB.
    pub const NEAR: Self = Self {
        delay: 100_000,
        loss: 0,
        buffer: 8192,
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Syn,
    SynAck,
    Ack,
    Data(Vec<u8>),
    Fin,
    Rst,
}

/// A segment that waits for its guest to send it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    segment: Segment,
    /// How often it was sent before.
    pub tries: u32,
    /// When it was first sent.
    since: u64,
}

impl Outgoing {
    /// Whether it carries no payload, so that it may take a link.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        !matches!(self.segment, Segment::Data(_))
    }
}

/// A segment on a link.
#[derive(Debug)]
struct OnLink {
    id: u64,
    resend_at: u64,
    outgoing: Outgoing,
}

/// How long a sender waits for an acknowledgement before it sends again; each
/// wait is twice the last one.
const FIRST_RESEND: u64 = 1_000_000_000;
/// How long it tries.
const USER_TIMEOUT: u64 = 30_000_000_000;

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    /// Bytes that the sender has put in and the receiver does not hold yet.
    queued: usize,
    under_way: VecDeque<(u64, Segment)>,
    received: VecDeque<u8>,
    is_closed: bool,
    has_ended: bool,
    /// Bytes put in.
    sent: u64,
    /// Bytes taken out.
    taken: u64,
}

/// State of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Established,
    Reset,
}

/// Which tasks of an end are to be woken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken {
    /// There are bytes, an end, or a failure.
    pub readable: bool,
    /// There is room, or a failure.
    pub writable: bool,
}

/// One connection, both ends.
#[derive(Debug)]
pub struct Connection {
    path: Path,
    random: fastrand::Rng,
    /// `pipes[side]` carries what `side` sends.
    pipes: [Pipe; 2],
    states: [State; 2],
    woken: [Woken; 2],
    /// What each side's guest has yet to send; only if `is_routed`.
    unsent: [VecDeque<Outgoing>; 2],
    /// Whether the guest at each end decides which way its segments go;
    /// otherwise they go through the network at once.
    is_routed: [bool; 2],
    /// Whether everything that a side has sent took a link.
    is_off_network: [bool; 2],
    on_link: [Vec<OnLink>; 2],
    next_id: u64,
    /// Whether the guest at each end cannot receive at present.
    pub is_away: [bool; 2],
    /// Whether the guest at each end is gone; segments to it get no answer.
    pub is_gone: [bool; 2],
}

/// The error of a call on a connection that was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WasReset;

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The end of the stream.
    End,
}

/// A connection as its two guests share it.
pub type Shared = Rc<RefCell<Connection>>;

impl Connection {
    /// Opens a connection, whose SYN leaves at `now`. All segments go through
    /// the network.
    #[must_use]
    pub fn open(path: Path, seed: u64, now: u64) -> Shared {
        Self::open_routed(path, seed, now, [false; 2])
    }

    /// Opens a connection whose segments wait, on the sides that are routed,
    /// until their guest sends them.
    #[must_use]
    pub fn open_routed(path: Path, seed: u64, now: u64, is_routed: [bool; 2]) -> Shared {
        let mut this = Self {
            path,
            random: fastrand::Rng::with_seed(seed),
            pipes: <[Pipe; 2]>::default(),
            states: [State::Opening; 2],
            woken: [Woken::default(); 2],
            unsent: <[VecDeque<Outgoing>; 2]>::default(),
            is_routed,
            is_off_network: [false; 2],
            on_link: <[Vec<OnLink>; 2]>::default(),
            next_id: 0,
            is_away: [false; 2],
            is_gone: [false; 2],
        };
        this.transmit(0, now, Segment::Syn);
        Rc::new(RefCell::new(this))
    }

    fn transmit(&mut self, side: Side, now: u64, segment: Segment) {
        if self.is_routed[side] {
            self.unsent[side].push_back(Outgoing {
                segment,
                tries: 0,
                since: now,
            });
        } else {
            self.by_network(side, now, segment);
        }
    }

    /// Whether the guest at `side` has a segment to send.
    #[must_use]
    pub fn has_unsent(&self, side: Side) -> bool {
        !self.unsent[side].is_empty()
    }

    /// Returns the next segment that the guest at `side` is to send.
    pub fn take_unsent(&mut self, side: Side) -> Option<Outgoing> {
        self.unsent[side].pop_front()
    }

    /// Everything that `side` sends from now on may take a link, or (`false`)
    /// nothing does.
    pub fn set_off_network(&mut self, side: Side, is_off_network: bool) {
        self.is_off_network[side] = is_off_network;
    }

    /// Whether everything that `side` has sent took a link.
    #[must_use]
    pub fn is_off_network(&self, side: Side) -> bool {
        self.is_off_network[side]
    }

    /// Sends a segment of `side` through the network; so do all later ones.
    pub fn send_by_network(&mut self, side: Side, now: u64, outgoing: Outgoing) {
        self.is_off_network[side] = false;
        self.by_network(side, now, outgoing.segment);
    }

    /// Returns the number under which the next segment takes a link.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A segment of `side` has taken a link.
    pub fn sent_by_link(&mut self, side: Side, now: u64, mut outgoing: Outgoing) {
        let wait = FIRST_RESEND << outgoing.tries.min(5);
        outgoing.tries += 1;
        self.on_link[side].push(OnLink {
            id: self.next_id,
            resend_at: now + wait,
            outgoing,
        });
        self.next_id += 1;
    }

    /// A segment of `side` has come out of a link.
    pub fn arrive_by_link(&mut self, side: Side, id: u64, now: u64) {
        let mut on_link = self.on_link[side].iter();
        if let Some(at) = on_link.position(|on_link| on_link.id == id) {
            let on_link = self.on_link[side].remove(at);
            self.arrive(side, on_link.outgoing.segment, now);
        }
    }

    /// The guest at `side` has forgotten the connection: what is left to send,
    /// or to send again, takes the network.
    pub fn orphan(&mut self, side: Side, now: u64) {
        while let Some(outgoing) = self.take_unsent(side) {
            self.send_by_network(side, now, outgoing);
        }
        self.is_routed[side] = false;
    }

    /// The guest at `side` is dead.
    pub fn bury(&mut self, side: Side) {
        self.is_gone[side] = true;
        self.is_routed[side] = false;
        self.unsent[side].clear();
        self.on_link[side].clear();
    }

    /// Has segments sent again that took a link and were not acknowledged in
    /// time.
    fn resend(&mut self, side: Side, now: u64) {
        while let Some(at) = self.on_link[side].iter().position(|on| on.resend_at <= now) {
            let OnLink { outgoing, .. } = self.on_link[side].remove(at);
            if now >= outgoing.since + USER_TIMEOUT {
                // As smoltcp does at its time-out.
                self.abort(side, now);
                self.orphan(side, now);
            } else if self.is_routed[side] {
                self.unsent[side].push_back(outgoing);
            } else {
                self.send_by_network(side, now, outgoing);
            }
        }
    }

    fn by_network(&mut self, side: Side, now: u64, segment: Segment) {
        const RETRANSMISSION: u64 = 200_000_000;
        let mut at = now + self.path.delay;
        if self.random.u32(..100) < self.path.loss {
            at += RETRANSMISSION;
        }
        let queue = &mut self.pipes[side].under_way;
        if let Some((last, _)) = queue.back() {
            at = at.max(*last);
        }
        queue.push_back((at, segment));
    }

    /// Whether this end may write and read: its handshake is over.
    #[must_use]
    pub fn is_established(&self, side: Side) -> bool {
        self.states[side] == State::Established
    }

    /// Whether this end has failed.
    #[must_use]
    pub fn is_reset(&self, side: Side) -> bool {
        self.states[side] == State::Reset
    }

    /// Whether both directions have ended at this end: nothing is left to do.
    #[must_use]
    pub fn is_over(&self, side: Side) -> bool {
        let (out, back) = (&self.pipes[side], &self.pipes[1 - side]);
        self.is_reset(side) || out.has_ended && back.has_ended && back.received.is_empty()
    }

    /// Returns how many bytes `side` has put into TCP, and taken out of it.
    #[must_use]
    pub fn offsets(&self, side: Side) -> (u64, u64) {
        (self.pipes[side].sent, self.pipes[1 - side].taken)
    }

    /// Puts bytes in at `side`; returns how many, 0 if there is no room.
    ///
    /// # Errors
    /// [`WasReset`].
    pub fn send(&mut self, side: Side, now: u64, bytes: &[u8]) -> Result<usize, WasReset> {
        match self.states[side] {
            // As in smoltcp, this is an error and not a lack of room.
            State::Reset | State::Opening => return Err(WasReset),
            State::Established => {}
        }
        if self.pipes[side].is_closed {
            assert!(bytes.is_empty(), "TCP: written after close");
            return Err(WasReset);
        }
        let room = self.path.buffer - self.pipes[side].queued;
        let len = room.min(bytes.len());
        if len > 0 {
            self.pipes[side].queued += len;
            self.pipes[side].sent += len as u64;
            self.transmit(side, now, Segment::Data(bytes[..len].to_vec()));
        }
        Ok(len)
    }

    /// Takes bytes out at `side`.
    ///
    /// # Errors
    /// [`WasReset`].
    pub fn receive(&mut self, side: Side, into: &mut [u8]) -> Result<Found, WasReset> {
        let state = self.states[side];
        let pipe = &mut self.pipes[1 - side];
        let len = into.len().min(pipe.received.len());
        if len == 0 {
            // As in smoltcp, what arrived before a reset can be read.
            return match state {
                _ if !pipe.received.is_empty() => Ok(Found::Nothing),
                State::Reset | State::Opening => Err(WasReset),
                State::Established if pipe.has_ended => Ok(Found::End),
                State::Established => Ok(Found::Nothing),
            };
        }
        for (place, byte) in into.iter_mut().zip(pipe.received.drain(..len)) {
            *place = byte;
        }
        pipe.taken += len as u64;
        Ok(Found::Bytes(len))
    }

    /// Closes the direction in which `side` sends.
    pub fn close(&mut self, side: Side, now: u64) {
        if !self.is_reset(side) && !self.pipes[side].is_closed {
            self.pipes[side].is_closed = true;
            self.transmit(side, now, Segment::Fin);
        }
    }
    /// Whether the other side's end has arrived here.
    #[must_use]
    pub fn has_heard_all(&self, side: Side) -> bool {
        self.pipes[1 - side].has_ended
    }

    /// Whether `side` has closed.
    #[must_use]
    pub fn is_closed(&self, side: Side) -> bool {
        self.pipes[side].is_closed
    }

    /// Resets the connection from `side`.
    pub fn abort(&mut self, side: Side, now: u64) {
        if !self.is_reset(side) {
            self.fail(side);
            self.pipes[1 - side].received.clear();
            self.pipes[side].under_way.clear();
            self.unsent[side].clear();
            self.on_link[side].clear();
            self.transmit(side, now, Segment::Rst);
        }
    }

    /// Fails the connection at `side` without a segment from the other end.
    pub fn fail(&mut self, side: Side) {
        self.states[side] = State::Reset;
        self.woken[side] = Woken {
            readable: true,
            writable: true,
        };
    }

    /// Returns what woke the tasks of `side` since the last call.
    pub fn take_woken(&mut self, side: Side) -> Woken {
        std::mem::take(&mut self.woken[side])
    }

    /// Whether `side` has tasks to wake.
    #[must_use]
    pub fn is_woken(&self, side: Side) -> bool {
        self.woken[side] != Woken::default()
    }

    /// Delivers what is due by `now`.
    pub fn advance(&mut self, now: u64) {
        for side in [0, 1] {
            while self.arrival(side).is_some_and(|at| at <= now) {
                if let Some((_, segment)) = self.pipes[side].under_way.pop_front() {
                    // What the network has brought is answered by the network.
                    self.is_off_network[1 - side] = false;
                    self.arrive(side, segment, now);
                }
            }
            self.resend(side, now);
        }
    }

    /// Returns when a segment is to be sent again at either end.
    #[must_use]
    pub fn next_resend(&self) -> Option<u64> {
        let on_link = self.on_link.iter().flatten();
        on_link.map(|on_link| on_link.resend_at).min()
    }

    /// Returns when the next segment arrives at either end.
    #[must_use]
    pub fn next_arrival(&self) -> Option<u64> {
        [0, 1]
            .into_iter()
            .filter_map(|side| self.arrival(side))
            .min()
    }

    /// Returns when the other end can take the next segment of `side`.
    fn arrival(&self, side: Side) -> Option<u64> {
        let pipe = &self.pipes[side];
        let (at, segment) = pipe.under_way.front()?;
        let fits = !matches!(segment, Segment::Data(_)) || pipe.received.len() < self.path.buffer;
        (fits && !self.is_away[1 - side]).then_some(*at)
    }

    fn arrive(&mut self, from: Side, segment: Segment, now: u64) {
        let to = 1 - from;
        if self.is_gone[to] {
            return;
        }
        if self.is_reset(to) {
            if segment != Segment::Rst {
                // As TCP answers a segment of an unknown connection.
                self.by_network(to, now, Segment::Rst);
            }
            return;
        }
        let is_opening = self.states[to] == State::Opening;
        if is_opening && matches!(segment, Segment::Data(_) | Segment::Fin) {
            // It acknowledges the handshake, and has overtaken what is on a link.
            self.establish(to);
        }
        match segment {
            Segment::Syn => {
                self.woken[to].readable = true;
                self.transmit(to, now, Segment::SynAck);
            }
            Segment::SynAck => {
                self.establish(to);
                self.transmit(to, now, Segment::Ack);
            }
            Segment::Ack => self.establish(to),
            Segment::Data(mut bytes) => {
                let pipe = &mut self.pipes[from];
                let room = self.path.buffer - pipe.received.len();
                let rest = bytes.split_off(room.min(bytes.len()));
                pipe.queued -= bytes.len();
                pipe.received.extend(bytes);
                if !rest.is_empty() {
                    pipe.under_way.push_front((now, Segment::Data(rest)));
                }
                self.woken[to].readable = true;
                // What acknowledges it takes the network, too.
                self.woken[from].writable = true;
            }
            Segment::Fin => {
                self.pipes[from].has_ended = true;
                self.woken[to].readable = true;
                // The acknowledgement may end the connection at the sender.
                self.woken[from].writable = true;
            }
            Segment::Rst => self.fail(to),
        }
    }

    fn establish(&mut self, side: Side) {
        self.states[side] = State::Established;
        self.woken[side] = Woken {
            readable: true,
            writable: true,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Found, Path, WasReset};

    const PATH: Path = Path {
        delay: 10,
        loss: 0,
        buffer: 4,
    };

    fn established() -> super::Shared {
        let tcp = Connection::open(PATH, 1, 0);
        tcp.borrow_mut().advance(10);
        tcp.borrow_mut().advance(20);
        tcp.borrow_mut().advance(30);
        assert!(tcp.borrow().is_established(1));
        tcp
    }

    #[test]
    fn bytes_wait_for_room_and_the_end_comes_last() {
        let tcp = established();
        let tcp = &mut *tcp.borrow_mut();
        assert_eq!(tcp.send(0, 30, b"abcdef"), Ok(4));
        tcp.advance(40);
        assert_eq!(tcp.send(0, 40, b"ef"), Ok(2));
        tcp.close(0, 40);
        tcp.advance(50);
        let mut bytes = [0; 3];
        assert_eq!(tcp.receive(1, &mut bytes), Ok(Found::Bytes(3)));
        tcp.advance(50);
        assert_eq!(tcp.receive(1, &mut bytes), Ok(Found::Bytes(3)));
        assert_eq!(&bytes, b"def");
        assert_eq!(tcp.receive(1, &mut bytes), Ok(Found::End));
    }

    #[test]
    fn an_abort_reaches_the_other_end() {
        let tcp = established();
        let tcp = &mut *tcp.borrow_mut();
        tcp.abort(1, 30);
        assert_eq!(tcp.send(0, 35, b"a"), Ok(1));
        tcp.advance(40);
        assert_eq!(tcp.send(0, 40, b"a"), Err(WasReset));
    }
}
