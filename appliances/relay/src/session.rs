//! One client: moves bytes between its socket, the SMTP core and the next
//! hop's socket. All decisions are the core's ([`smtp::Relay`]).

use crate::counts::Counts;
use crate::next_hop::{NextHop, Unreachable};
use crate::policy::Policy;
use crate::sources::{
    ClientInput, ClientSource, Connecting, HopInput, HopSource, alarm, held, stop, write,
};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::time::Duration;
use embassy_futures::select::{Either6, select6};
use embedded_io_async::BufRead;
use kernel::shutdown::{Hold, Stopping};
use kernel::time::{self, Instant};
use netstack::{Network, ReadHalf, TcpStream, WriteHalf};
use smtp::{Action, HopEvent, Relay, UnixTime, Wait};

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) network: Network,
    /// The port for clients.
    pub(crate) port: u16,
    pub(crate) next_hop: NextHop,
    pub(crate) policy: Rc<Policy>,
    pub(crate) counts: Counts,
    pub(crate) stopping: Stopping,
    /// Clients connected.
    pub(crate) clients: Cell<usize>,
    /// Sessions, including those that only say goodbye to the next hop.
    pub(crate) sessions: Cell<usize>,
}

/// A session's place. Its client's part is free again once the client has
/// gone, all of it once it is dropped.
pub(crate) struct Seat {
    shared: Rc<Shared>,
    occupied: bool,
    /// Keeps the guest from stopping until the session has finished.
    _hold: Hold,
}

impl Seat {
    /// Takes a place; the caller has checked that one is free.
    pub(crate) fn take(shared: Rc<Shared>) -> Self {
        shared.clients.set(shared.clients.get() + 1);
        shared.sessions.set(shared.sessions.get() + 1);
        Self {
            _hold: shared.stopping.hold(),
            occupied: true,
            shared,
        }
    }
}

impl Seat {
    /// Frees the client's part, because the client has gone.
    fn leave(&mut self) {
        if core::mem::take(&mut self.occupied) {
            self.shared.clients.set(self.shared.clients.get() - 1);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
        self.shared.sessions.set(self.shared.sessions.get() - 1);
    }
}

/// The connection to the next hop.
enum Hop {
    None,
    Connecting(Connecting),
    Up(ReadHalf, WriteHalf),
}

struct Session {
    shared: Rc<Shared>,
    seat: Seat,
    number: u32,
    relay: Relay,
    client: Option<(ReadHalf, WriteHalf)>,
    hop: Hop,
    hop_connect: Duration,
    /// The wait that the timer bounds, and when the timer ends.
    timer: Option<(Wait, Instant)>,
    /// When the replies to a client that is slowed down may go.
    hold: Option<Instant>,
    /// Whether some of the greeting has gone to the client.
    greeted: bool,
    /// Whether the client's FIN has been seen, perhaps in front of bytes that were not read yet.
    client_parted: bool,
    /// Whether the core knows that the client sends no more.
    client_ended: bool,
    /// Whether the core took none of the client's bytes: they are not offered
    /// again before something else has happened.
    client_stalled: bool,
    /// The same for the next hop's bytes.
    hop_stalled: bool,
}

/// Serves `client` until both connections are over.
pub(crate) async fn run(seat: Seat, client: TcpStream, number: u32) {
    let shared = seat.shared.clone();
    let smtp = shared.policy.current(&shared.network);
    let hop_connect = smtp.timeouts.hop_connect;
    let relay = Relay::new(smtp, client.peer_addr().ip(), number);
    let mut session = Session {
        shared,
        seat,
        number,
        relay,
        client: Some(client.split()),
        hop: Hop::None,
        hop_connect,
        timer: None,
        hold: None,
        greeted: false,
        client_parted: false,
        client_ended: false,
        client_stalled: false,
        hop_stalled: false,
    };
    let mut told = false;
    loop {
        session.notice_parting();
        session.act();
        if session.relay.is_finished() {
            return;
        }
        session.set_timer();
        told |= session.step(told).await;
    }
}

impl Session {
    /// Carries out what the core asks for.
    fn act(&mut self) {
        while let Some(action) = self.relay.poll_action() {
            match action {
                Action::ConnectHop => {
                    let shared = self.shared.clone();
                    let limit = self.hop_connect;
                    self.hop = Hop::Connecting(Box::pin(async move {
                        let Shared { network, port, .. } = &*shared;
                        shared.next_hop.connect(network, *port, limit).await
                    }));
                }
                Action::CloseHop => self.hop = Hop::None,
                Action::CloseClient => self.drop_client(),
                Action::Log(line) => {
                    if let Some(outcome) = line.outcome() {
                        self.shared.counts.count(outcome);
                    }
                    let level = match line.is_warning() {
                        true => log::Level::Warn,
                        false => log::Level::Info,
                    };
                    log::log!(level, "relay: session {}: {line}", self.number);
                }
            }
        }
    }

    /// Tells the core that the client has gone, if it waits for the next hop: no mail can come of
    /// what is unread. Its place is free, though it may still get the answer to a whole message.
    fn notice_parting(&mut self) {
        if self.client_parted && !self.client_ended && self.relay.awaits_hop() {
            self.client_ended = true;
            self.seat.leave();
            self.relay.client_eof();
        }
    }

    fn drop_client(&mut self) {
        self.client = None;
        self.seat.leave();
    }

    fn set_timer(&mut self) {
        let now = time::now();
        self.relay.tick(Duration::from_nanos(now.as_nanos()));
        let wait = self.relay.wait();
        let what = |wait: &Wait| (wait.phase, wait.round);
        if self.timer.as_ref().map(|(wait, _)| what(wait)) != wait.as_ref().map(what) {
            self.timer = wait.map(|wait| {
                let end = now + wait.limit;
                (wait, end)
            });
        }
    }

    /// Begins to hold the replies back, if the client is slowed down and has new ones.
    fn hold_replies(&mut self) {
        match self.relay.delay() {
            Duration::ZERO => self.hold = None,
            delay => {
                self.hold.get_or_insert_with(|| time::now() + delay);
            }
        }
    }

    /// Waits for one event and tells the core. Returns whether the event was
    /// the request to stop the guest, which is not waited for if `told`.
    async fn step(&mut self, told: bool) -> bool {
        self.hold_replies();
        let room = self.relay.client_capacity() > 0;
        let read_hop = self.relay.hop_capacity() > 0 && !self.hop_stalled;
        let (client_input, client_write) = match &mut self.client {
            None => (ClientSource::None, None),
            Some((_, write)) if self.client_ended => (ClientSource::None, Some(write)),
            Some((read, write)) if room && !self.client_stalled => {
                (ClientSource::Open(read), Some(write))
            }
            Some((_, write)) if self.client_parted => (ClientSource::None, Some(write)),
            Some((read, write)) => (ClientSource::Held(read), Some(write)),
        };
        let (hop_input, hop_write) = match &mut self.hop {
            Hop::Up(read, write) => (
                HopSource::Open(Some(read).filter(|_| read_hop)),
                Some(write),
            ),
            Hop::Connecting(connecting) => (HopSource::Opening(connecting), None),
            Hop::None => (HopSource::Open(None), None),
        };
        let event = select6(
            client_input.wait(),
            held(self.hold, write(client_write, self.relay.client_output())),
            hop_input.wait(),
            write(hop_write, self.relay.hop_output()),
            alarm(self.timer.as_ref().map(|&(_, end)| end)),
            stop(&self.shared.stopping, told),
        )
        .await;
        // Something has happened: stalled input may go on.
        let (mut client_stalled, mut hop_stalled) = (false, false);
        match event {
            Either6::First(Ok(ClientInput::Bytes([]))) => {
                self.client_ended = true;
                self.relay.client_eof();
            }
            Either6::First(Ok(ClientInput::Bytes(bytes))) if !self.greeted => {
                let early = bytes.len();
                self.relay.client_too_early();
                if let Some((read, _)) = &mut self.client {
                    read.consume(early);
                }
            }
            Either6::First(Ok(ClientInput::Bytes(bytes))) => {
                let now = UnixTime(time::unix_time().as_secs());
                let taken = self.relay.client_input(now, bytes);
                client_stalled = taken == 0;
                hop_stalled = client_stalled && self.hop_stalled;
                if let Some((read, _)) = &mut self.client {
                    read.consume(taken);
                }
            }
            Either6::First(Ok(ClientInput::Parted)) => {
                self.client_parted = true;
                client_stalled = self.client_stalled;
                hop_stalled = self.hop_stalled;
            }
            Either6::Second(Ok(count)) => {
                self.greeted = true;
                self.hold = None;
                self.relay.client_sent(count);
            }
            Either6::First(Err(_)) | Either6::Second(Err(_)) => {
                self.drop_client();
                self.relay.client_lost();
            }
            Either6::Third(HopInput::Connected(Ok(stream))) => {
                self.relay.hop_address(stream.peer_addr().ip());
                let (read, write) = stream.split();
                self.hop = Hop::Up(read, write);
                self.relay.hop_event(HopEvent::Connected);
            }
            Either6::Third(HopInput::Connected(Err(error))) => {
                let (number, next_hop) = (self.number, &self.shared.next_hop);
                log::warn!("relay: session {number}: next hop {next_hop}: {error}");
                self.hop = Hop::None;
                self.relay.hop_event(match error {
                    Unreachable::Itself(_) => HopEvent::LoopsBack,
                    Unreachable::Name(_) | Unreachable::Connect(..) => HopEvent::ConnectFailed,
                });
            }
            Either6::Third(HopInput::Bytes(Ok(bytes @ [_, ..]))) => {
                let taken = self.relay.hop_input(bytes);
                hop_stalled = taken == 0;
                client_stalled = hop_stalled && self.client_stalled;
                if let Hop::Up(read, _) = &mut self.hop {
                    read.consume(taken);
                }
            }
            Either6::Fourth(Ok(count)) => self.relay.hop_sent(count),
            Either6::Third(HopInput::Bytes(_)) | Either6::Fourth(Err(_)) => {
                self.hop = Hop::None;
                self.relay.hop_event(HopEvent::Closed);
            }
            Either6::Fifth(()) => {
                self.timer = None;
                self.relay.timed_out();
            }
            Either6::Sixth(()) => {
                self.relay.shut_down();
                return true;
            }
        }
        self.client_stalled = client_stalled;
        self.hop_stalled = hop_stalled;
        false
    }
}
