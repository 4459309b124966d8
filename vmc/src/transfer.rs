//! Data Transfer Manager (M2): sends and receives through the ring, one copy
//! in and one out, with one notification a batch (design rule R6). A read that
//! finds nothing and a write that finds no room would block; whoever waits is
//! told by an output, or by TCP's own waker. This file: writes; `read`: reads.

mod read;

use crate::channel::Vmc;
use crate::connection::{Conn, ConnId, Fin, Path};
use crate::limits::PATIENCE;
use crate::output::{Cause, Output};
use crate::platform::Platform;
use crate::stream::{StreamEnd, Tcp};

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
        let index = conn.link.and_then(|key| self.links.find(key));
        let (Some(index), Some(&number)) = (index, sender.rings.last()) else {
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
        let Ok(written) = ring.producer.write(&ring.memory, bytes) else {
            return Err(self.caught(index));
        };
        if written > 0 {
            sender.written += written as u64;
            sender.by_ring += written as u64;
            link.counters.sent += written as u64;
            link.note_data(number, &self.platform);
            return Ok(Attempt::Done(written));
        }
        if ring.producer.is_sealed() {
            // Its owner is on the way; what was published has arrived.
            sender.path = Path::Unconfirmed;
            return Ok(Attempt::Again);
        }
        sender.waits = sender.waits.saturating_add(1);
        sender.all_waits += 1;
        if ring.producer.consumer_state(&ring.memory).closed {
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
        match ring.producer.wait_for_space(&ring.memory, wanted) {
            Ok(true) => Ok(Attempt::Again),
            Ok(false) => Ok(Attempt::Block),
            Err(_) => Err(self.caught(index)),
        }
    }

    /// The peer was caught lying about an index: its link ends, and with it
    /// the connection.
    fn caught(&mut self, index: usize) -> StreamEnd {
        self.close_link(index, Cause::IndexLie);
        StreamEnd::Reset
    }

    fn set_blocked(&mut self, at: usize, flag: impl FnOnce(&mut Conn<P>) -> &mut bool) {
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
