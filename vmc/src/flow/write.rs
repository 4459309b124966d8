//! Data Transfer Manager (M2), the writing half: one copy into the ring, one
//! notification a batch (design rule R6). A write that finds no room would
//! block; the application is told of room by an output, or by TCP's own waker.

use super::conn::{Fin, Path};
use super::view::{Flow, NO_LINK};
use crate::error::{Bug, Failure, PeerFault};
use crate::limits::{ATTEMPTS, WAITS_BEFORE_GROWTH};
use crate::output::Output;
use crate::platform::Platform;
use crate::ring::IndexLie;
use crate::stream::{StreamEnd, Tcp};
use crate::wire::RingNumber;

/// What one attempt on a ring came to.
pub(super) enum Attempt<T> {
    Done(T),
    /// Room or bytes have just come, or the path is another one now.
    Again,
    /// It would block, and the other side was asked for a notification.
    Block,
}

/// Why a call of the application failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The stream is over: the application's business.
    End(StreamEnd),
    /// The channel's business; for the application it is a reset.
    Failure(Failure),
}

impl From<StreamEnd> for CallError {
    fn from(end: StreamEnd) -> Self {
        Self::End(end)
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<PeerFault> for CallError {
    fn from(fault: PeerFault) -> Self {
        Self::Failure(fault.into())
    }
}

impl From<IndexLie> for CallError {
    fn from(lie: IndexLie) -> Self {
        Self::Failure(lie.into())
    }
}

impl From<Bug> for CallError {
    fn from(bug: Bug) -> Self {
        Self::Failure(bug.into())
    }
}

impl<P: Platform> Flow<'_, P> {
    /// Writes the beginning of `bytes`, by the path that is the right one now,
    /// and returns how many. 0: it would block.
    pub(crate) fn write<T: Tcp>(&mut self, tcp: &mut T, bytes: &[u8]) -> Result<usize, CallError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        for _ in 0..ATTEMPTS {
            let choice = self.choose();
            let attempt = match self.act_on(choice) {
                Path::Ring => self.write_ring(bytes)?,
                Path::Tcp => match self.write_tcp(tcp, bytes)? {
                    0 => Attempt::Block,
                    sent => Attempt::Done(sent),
                },
                Path::Unconfirmed => Attempt::Block,
                Path::Residue => {
                    self.resend(tcp)?;
                    match self.conn.sender.path {
                        Path::Tcp => Attempt::Again,
                        _ => Attempt::Block,
                    }
                }
            };
            match attempt {
                Attempt::Done(written) => return Ok(written),
                Attempt::Again => {}
                Attempt::Block => {
                    self.conn.sender.blocked = true;
                    // A connection that is dead below ends here, too.
                    tcp.send(&[])?;
                    return Ok(0);
                }
            }
        }
        // The peer's moves used the attempts up: the caller tries again. It is
        // not blocked, because it is told.
        self.conn.sender.blocked = false;
        self.guest.outputs.push(Output::Writable(self.key));
        Ok(0)
    }

    fn write_tcp<T: Tcp>(&mut self, tcp: &mut T, bytes: &[u8]) -> Result<usize, StreamEnd> {
        let sent = tcp.send(bytes)?;
        self.conn.sender.written += sent as u64;
        Ok(sent)
    }

    fn write_ring(&mut self, bytes: &[u8]) -> Result<Attempt<usize>, Failure> {
        let Self {
            key, conn, guest, ..
        } = self;
        let sender = &mut conn.sender;
        if sender.fin != Fin::Open {
            return Ok(Attempt::Block);
        }
        let number = sender.rings.last().copied();
        let number = number.ok_or(Bug("a sender on the path Ring has one"))?;
        let link = self.link.as_deref_mut();
        let link = link.ok_or(NO_LINK)?;
        let ring = link.own_ring_of(number, *key);
        let ring = ring.ok_or(Bug("a sender's ring is in use by it"))?;
        let written = ring.producer.write(&ring.memory, bytes)?;
        if written > 0 {
            sender.written += written as u64;
            sender.by_ring += written as u64;
            link.counters.sent += written as u64;
            link.note_data(number, &guest.platform);
            return Ok(Attempt::Done(written));
        }
        if ring.producer.is_sealed() {
            // Its owner's CONFIRM is on the way; what was published has arrived.
            sender.path = Path::Unconfirmed;
            return Ok(Attempt::Again);
        }
        self.wait_for_space(number)
    }

    /// The ring is full: takes a larger one after some times, or asks for a
    /// notification when there is space.
    #[inline(never)]
    fn wait_for_space(&mut self, number: RingNumber) -> Result<Attempt<usize>, Failure> {
        let sender = &mut self.conn.sender;
        sender.waits = sender.waits.saturating_add(1);
        sender.all_waits += 1;
        if sender.waits >= WAITS_BEFORE_GROWTH && self.grow()? {
            return Ok(Attempt::Again);
        }
        let key = self.key;
        let ring = self.link()?.own_ring_of(number, key);
        let ring = ring.ok_or(Bug("a sender's ring is in use by it"))?;
        // Half of it, so that a reader that keeps up wakes nobody for a byte.
        let wanted = ring.producer.capacity() / 2;
        if ring.producer.wait_for_space(&ring.memory, wanted)? {
            Ok(Attempt::Again)
        } else {
            Ok(Attempt::Block)
        }
    }
}
