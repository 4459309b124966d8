//! A direction moves back to TCP (docs/protocol.md, "Fallback", "DONE").
//!
//! The receiver names the offset up to which it has consumed; the sender puts
//! its bytes from there on into TCP, those left in rings first. A ring in use
//! is answered exactly once, by CONFIRM or by DONE, and messages of a link
//! stay in order: so nothing that crosses can be taken for something else.

use super::handover::let_go_of_rings;
use super::{Fin, Path};
use crate::channel::Vmc;
use crate::message::{Message, Reason};
use crate::output::Cause;
use crate::platform::Platform;
use crate::vms::rings::User;

impl<P: Platform> Vmc<P> {
    /// The receiver of a connection goes back to TCP: it confirms every ring
    /// that it reads, in order.
    pub(crate) fn confirm(&mut self, at: usize, reason: Reason) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let Some(link) = conn.link.and_then(|key| self.links.named_mut(key)) else {
            return;
        };
        match let_go_of_rings(conn, link) {
            Ok(answers) => {
                for (your, offset) in answers {
                    let answer = Message::Confirm {
                        your,
                        reason,
                        offset,
                    };
                    link.answer(your, &answer);
                }
                self.wake_reader(at);
            }
            Err(cause) => {
                link.fault = Some(cause);
                self.lose(at);
            }
        }
    }

    /// FALLBACK: the sender of a ring wants to go back to TCP.
    pub(crate) fn fall_back(&mut self, index: usize, number: u16, _: Reason) -> Result<(), Cause> {
        let ring = self.links.get(index).map(|link| &link.peers);
        match ring.and_then(|peers| peers.get(usize::from(number))) {
            Some(Some(ring)) => {
                // No user: the answer has crossed it.
                if let Some(at) = ring.user {
                    self.confirm(at, Reason::Fallback);
                }
                Ok(())
            }
            _ => Err(Cause::BadMessage),
        }
    }

    /// The connection whose receiver reads an own ring and may answer for it;
    /// None where nobody is interested in the answer any more. `is_over`: a ring
    /// in pages of the peer's is no more.
    fn reads_first(
        &mut self,
        index: usize,
        number: u16,
        is_over: bool,
    ) -> Result<Option<usize>, Cause> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(None);
        };
        let Some(Some(ring)) = link.own.get(usize::from(number)) else {
            return Err(Cause::BadMessage);
        };
        match ring.user {
            User::Conn(at) => match self.conns.get(at) {
                Some(conn) if conn.sender.rings.first() != Some(&number) => Err(Cause::BadMessage),
                conn => Ok(conn.map(|_| at)),
            },
            User::Over => {
                if ring.memory.is_own() || !is_over {
                    link.idle_own(number);
                }
                Ok(None)
            }
            // It is no longer in use.
            User::Idle | User::Retiring => Ok(None),
        }
    }

    /// CONFIRM: the receiver takes nothing more from a ring; it has consumed
    /// it up to `offset`.
    pub(crate) fn confirmed(
        &mut self,
        index: usize,
        number: u16,
        reason: Reason,
        offset: u64,
    ) -> Result<(), Cause> {
        let Some(at) = self.reads_first(index, number, true)? else {
            self.lose_home(index, number);
            return Ok(());
        };
        let (Some(link), Some(conn)) = (self.links.get_mut(index), self.conns.get_mut(at)) else {
            return Ok(());
        };
        let Some(ring) = link.own_of(number, at) else {
            return Ok(());
        };
        let sender = &mut conn.sender;
        let (base, tail) = (ring.producer.base(), ring.producer.tail());
        let begins = sender.residue.is_empty() || offset == base;
        let is_own = ring.memory.is_own();
        if offset < base || offset > tail || !begins {
            return Err(Cause::BadMessage);
        }
        sender.rings.remove(0);
        let mut lost = false;
        if !sender.sunk {
            // At most the capacity, or nothing is read back.
            let len = usize::try_from(tail - offset).unwrap_or(usize::MAX);
            let start = sender.residue.len();
            if len > ring.producer.capacity() {
                return Err(Cause::BadMessage);
            }
            if sender.residue.try_reserve_exact(len).is_ok() {
                sender.residue.resize(start + len, 0);
                let into = &mut sender.residue[start..];
                if ring.producer.read_back(&ring.memory, offset, into) != len {
                    return Err(Cause::BadMessage);
                }
            } else {
                lost = true;
            }
        }
        sender.refused |= reason.is_refusal();
        let is_last = sender.rings.is_empty();
        sender.path = if is_last {
            Path::Residue
        } else {
            Path::Unconfirmed
        };
        if !is_own {
            self.stats.mapped_pages -= link.drop_home(number);
        } else if matches!(reason, Reason::Unmapped | Reason::NoRoom) {
            link.retire_own(number);
        } else {
            link.idle_own(number);
        }
        if is_last {
            link.counters.fallbacks += 1;
            self.stats.fallbacks += 1;
        }
        if reason.is_refusal() {
            self.stats.refused.count(reason);
        }
        if lost {
            self.end_conn(at);
        } else if is_last {
            self.leave_ring(at);
        }
        Ok(())
    }

    /// All rings of a sender were confirmed: what is left goes into TCP.
    pub(crate) fn leave_ring(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.sender.residue.is_empty() && conn.sender.fin == Fin::Open {
            conn.sender.path = Path::Tcp;
            self.wake_writer(at);
        } else {
            self.want_advance(at);
        }
    }

    /// DONE: the receiver has drained a ring to the next one's base, or to
    /// the FIN, or wants nothing more of this connection.
    pub(crate) fn done(&mut self, index: usize, number: u16, offset: u64) -> Result<(), Cause> {
        let Some(at) = self.reads_first(index, number, false)? else {
            return Ok(());
        };
        let (Some(link), Some(conn)) = (self.links.get_mut(index), self.conns.get_mut(at)) else {
            return Ok(());
        };
        let Some(ring) = link.own_of(number, at) else {
            return Ok(());
        };
        let sender = &mut conn.sender;
        let complete = offset == ring.producer.tail();
        sender.rings.remove(0);
        link.idle_own(number);
        if complete && !sender.rings.is_empty() {
            self.go_home(index);
            return Ok(());
        }
        if complete && sender.fin == Fin::Wanted && sender.path == Path::Ring {
            sender.path = Path::Residue;
            self.want_advance(at);
        } else if sender.fin == Fin::Sent {
            // Nobody waits for it: see `Sender::sunk`.
            sender.path = Path::Tcp;
        } else {
            self.end_conn(at);
        }
        Ok(())
    }
}
