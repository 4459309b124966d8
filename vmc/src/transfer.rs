//! Data Transfer Manager (M2): sends and receives through the ring, one copy
//! in and one out, with one notification a batch (design rule R6). A read that
//! finds nothing and a write that finds no room would block; whoever waits is
//! told by an output, or by TCP's own waker.

use crate::channel::Vmc;
use crate::connection::{Conn, ConnId, Fin, Path};
use crate::limits::{DISCARD, PATIENCE};
use crate::message::Message;
use crate::output::{Cause, Output};
use crate::platform::Platform;
use crate::ring::Taken;
use crate::stream::{Received, StreamEnd, Tcp};

/// What became of an attempt on a ring.
enum Attempt<T> {
    Done(T),
    /// Room or bytes have just come, or the path is another one now.
    Again,
    /// It would block, and the other side was asked for a notification.
    Block,
}

/// Attempts of one call. A peer could otherwise keep it going.
const ATTEMPTS: usize = 3;

impl<P: Platform> Vmc<P> {
    /// Writes the beginning of `bytes`, by the path that is the right one
    /// now, and returns how many. 0: it would block.
    ///
    /// # Errors
    /// [`StreamEnd`].
    pub fn write<T: Tcp>(
        &mut self,
        conn: ConnId,
        tcp: &mut T,
        bytes: &[u8],
    ) -> Result<usize, StreamEnd> {
        let at = self.live(conn)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        for _ in 0..ATTEMPTS {
            let attempt = match self.choose(at) {
                Path::Ring => self.write_ring(at, bytes)?,
                Path::Tcp => {
                    let sent = self.write_tcp(at, tcp, bytes)?;
                    if sent > 0 {
                        return Ok(sent);
                    }
                    Attempt::Block
                }
                Path::Unconfirmed => Attempt::Block,
                Path::Residue => {
                    self.resend(at, tcp)?;
                    match self.conns.get(at).map(|conn| conn.sender.path) {
                        Some(Path::Tcp) => Attempt::Again,
                        _ => Attempt::Block,
                    }
                }
            };
            match attempt {
                Attempt::Done(written) => return Ok(written),
                Attempt::Again => {}
                Attempt::Block => {
                    self.set_blocked(at, |conn| &mut conn.sender.blocked);
                    // A connection that is dead below ends here, too.
                    tcp.send(&[])?;
                    return Ok(0);
                }
            }
        }
        self.emit_once(at, Output::Writable(conn));
        Ok(0)
    }

    fn write_tcp<T: Tcp>(
        &mut self,
        at: usize,
        tcp: &mut T,
        bytes: &[u8],
    ) -> Result<usize, StreamEnd> {
        let sent = tcp.send(bytes)?;
        if let Some(conn) = self.conns.get_mut(at) {
            conn.sender.written += sent as u64;
        }
        Ok(sent)
    }

    fn write_ring(&mut self, at: usize, bytes: &[u8]) -> Result<Attempt<usize>, StreamEnd> {
        let Some(conn) = self.conns.get_mut(at) else {
            return Err(StreamEnd::Reset);
        };
        let sender = &mut conn.sender;
        let (Some(index), Some(&number)) = (conn.link, sender.rings.last()) else {
            return Err(StreamEnd::Reset);
        };
        if sender.fin != Fin::Open {
            return Ok(Attempt::Block);
        }
        if sender.sunk {
            sender.written += bytes.len() as u64;
            return Ok(Attempt::Done(bytes.len()));
        }
        let Some(link) = self.links.get_mut(index) else {
            return Err(StreamEnd::Reset);
        };
        let Some(ring) = link.own_of(number, at) else {
            return Err(StreamEnd::Reset);
        };
        let Ok(written) = ring.producer.write(&ring.region, bytes) else {
            return Err(self.caught(index));
        };
        if written > 0 {
            sender.written += written as u64;
            sender.by_ring += written as u64;
            link.counters.sent += written as u64;
            link.note_data(number, &self.platform);
            return Ok(Attempt::Done(written));
        }
        sender.waits = sender.waits.saturating_add(1);
        sender.all_waits += 1;
        if ring.producer.consumer_state(&ring.region).closed {
            sender.sunk = true;
            return Ok(Attempt::Again);
        }
        if sender.waits >= PATIENCE && self.grow(at) {
            return Ok(Attempt::Again);
        }
        let Some(ring) = self
            .links
            .get_mut(index)
            .and_then(|link| link.own_of(number, at))
        else {
            return Err(StreamEnd::Reset);
        };
        // Half of it, so that a reader that keeps up wakes nobody for a byte.
        let wanted = ring.producer.capacity() / 2;
        match ring.producer.wait_for_space(&ring.region, wanted) {
            Ok(true) => Ok(Attempt::Again),
            Ok(false) => Ok(Attempt::Block),
            Err(_) => Err(self.caught(index)),
        }
    }

    /// Reads into `into`, which is not empty, from the path that has the next
    /// byte.
    ///
    /// # Errors
    /// [`StreamEnd`].
    pub fn read<T: Tcp>(
        &mut self,
        conn: ConnId,
        tcp: &mut T,
        into: &mut [u8],
    ) -> Result<Received, StreamEnd> {
        let at = self.live(conn)?;
        if into.is_empty() {
            return Ok(Received::Nothing);
        }
        for _ in 0..ATTEMPTS {
            let Some(conn) = self.conns.get_mut(at) else {
                return Err(StreamEnd::Reset);
            };
            let recver = &conn.recver;
            if recver.finished {
                return Ok(Received::Finished);
            }
            let from_ring = recver
                .rings
                .first()
                .is_some_and(|source| recver.received >= source.base);
            let attempt = if from_ring {
                self.read_ring(at, into)?
            } else {
                read_tcp(conn, tcp, into)?
            };
            match attempt {
                Attempt::Done(received) => return Ok(received),
                Attempt::Again => {}
                Attempt::Block => {
                    self.set_blocked(at, |conn| &mut conn.recver.blocked);
                    if from_ring && tcp.receive(&mut [])? == Received::Finished {
                        // TCP is closed only behind the ring's end: a lie.
                        self.end_conn(at);
                        return Err(StreamEnd::Reset);
                    }
                    return Ok(Received::Nothing);
                }
            }
        }
        self.emit_once(at, Output::Readable(conn));
        Ok(Received::Nothing)
    }

    fn read_ring(&mut self, at: usize, into: &mut [u8]) -> Result<Attempt<Received>, StreamEnd> {
        let Some(conn) = self.conns.get_mut(at) else {
            return Err(StreamEnd::Reset);
        };
        let recver = &mut conn.recver;
        let (Some(index), Some(&source)) = (conn.link, recver.rings.first()) else {
            return Err(StreamEnd::Reset);
        };
        let end = recver.rings.get(1).map_or(u64::MAX, |next| next.base);
        let Some(link) = self.links.get_mut(index) else {
            return Err(StreamEnd::Reset);
        };
        let Some(Some(ring)) = link.peers.get_mut(usize::from(source.ring)) else {
            return Err(StreamEnd::Reset);
        };
        let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.mapping.as_ref()) else {
            return Err(StreamEnd::Reset);
        };
        match consumer.read_until(mapping, into, end) {
            Ok(Taken::Bytes(count)) => {
                recver.received += count as u64;
                recver.by_ring += count as u64;
                link.counters.received += count as u64;
                link.note_space(source.ring, count, &self.platform);
                if recver.received == end {
                    self.catch_up_reader(at);
                }
                Ok(Attempt::Done(Received::Bytes(count)))
            }
            Ok(Taken::Empty) => match consumer.wait_for_data(mapping) {
                Ok(true) => Ok(Attempt::Again),
                Ok(false) => Ok(Attempt::Block),
                Err(_) => Err(self.caught(index)),
            },
            Ok(Taken::Finished) if end == u64::MAX => {
                recver.finished = true;
                self.done_with_first(at);
                Ok(Attempt::Done(Received::Finished))
            }
            // An end in front of a larger ring.
            Ok(Taken::Finished) => Err(self.caught(index)),
            Ok(Taken::Reset) => {
                self.end_conn(at);
                Err(StreamEnd::Reset)
            }
            Err(_) => Err(self.caught(index)),
        }
    }

    /// Lets go of a first ring that was drained to the base of the next one.
    pub(crate) fn catch_up_reader(&mut self, at: usize) {
        let drained = self.conns.get(at).is_some_and(|conn| {
            let recver = &conn.recver;
            let next = recver.rings.get(1);
            next.is_some_and(|next| recver.received >= next.base)
        });
        if drained {
            self.done_with_first(at);
        }
    }

    /// DONE with the first ring of a receiver.
    fn done_with_first(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.recver.rings.is_empty() {
            return;
        }
        let source = conn.recver.rings.remove(0);
        let offset = conn.recver.received;
        if let Some(link) = conn.link.and_then(|index| self.links.get_mut(index)) {
            link.let_go(
                source.ring,
                &Message::Done {
                    your: source.ring,
                    offset,
                },
            );
        }
    }

    /// Throws away what comes in for a connection that nobody reads.
    pub(crate) fn throw_away<T: Tcp>(&mut self, conn: ConnId, at: usize, tcp: &mut T) {
        let mut into = core::mem::take(&mut self.discard);
        let mut thrown = 0;
        while thrown < DISCARD {
            match self.read(conn, tcp, &mut into) {
                Ok(Received::Bytes(count)) => thrown += count,
                _ => break,
            }
        }
        self.discard = into;
        if thrown >= DISCARD {
            self.want_advance(at);
        }
    }

    /// The peer was caught lying about an index: its link ends, and with it
    /// the connection.
    fn caught(&mut self, index: usize) -> StreamEnd {
        self.close_link(index, Cause::IndexLie);
        StreamEnd::Reset
    }

    fn set_blocked(&mut self, at: usize, flag: impl FnOnce(&mut Conn) -> &mut bool) {
        if let Some(conn) = self.conns.get_mut(at) {
            *flag(conn) = true;
        }
    }

    /// The peer's moves wore a call out: its caller shall try again.
    fn emit_once(&mut self, at: usize, output: Output) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let released = conn.released;
        // Not both: who is told is not blocked.
        match output {
            Output::Readable(_) => conn.recver.blocked = false,
            _ => conn.sender.blocked = false,
        }
        if released && matches!(output, Output::Readable(_)) {
            self.want_advance(at);
        } else {
            self.emit(output);
        }
    }
}

/// Reads TCP, up to the base of the ring that comes behind it.
fn read_tcp<T: Tcp>(
    conn: &mut Conn,
    tcp: &mut T,
    into: &mut [u8],
) -> Result<Attempt<Received>, StreamEnd> {
    let recver = &mut conn.recver;
    let next = recver.rings.first().map(|source| source.base);
    let left = next.map_or(u64::MAX, |base| base - recver.received);
    let limit = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
    match tcp.receive(&mut into[..limit])? {
        Received::Bytes(count) => {
            recver.received += count as u64;
            Ok(Attempt::Done(Received::Bytes(count)))
        }
        Received::Nothing => Ok(Attempt::Block),
        Received::Finished if next.is_none() => {
            recver.finished = true;
            Ok(Attempt::Done(Received::Finished))
        }
        // Bytes are missing that the peer said it had put into TCP.
        Received::Finished => {
            tcp.abort();
            Err(StreamEnd::Reset)
        }
    }
}
