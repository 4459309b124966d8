//! A direction moves back to TCP (docs/protocol.md, "Fallback", "DONE").
//!
//! The receiver names the offset up to which it has consumed; the sender puts
//! its bytes from there on into TCP, those left in rings first. A ring in use is
//! answered exactly once, by CONFIRM or by DONE, and messages of a link stay in
//! order: so nothing that crosses can be taken for something else.

use super::conn::{Fin, Path};
use super::handover::NotRetained;
use super::view::{Flow, Parts};
use crate::error::{Bug, Failure, PeerFault};
use crate::platform::Platform;
use crate::wire::message::Reason;
use crate::wire::{Message, RingNumber};

impl<P: Platform> Flow<'_, P> {
    /// The receiver goes back to TCP: it confirms every ring that it reads, in
    /// order.
    #[inline(never)]
    pub(crate) fn confirm(&mut self, reason: Reason) {
        let sources = self.conn.recver.rings.clone();
        let retained = self.retain_unread();
        let Some(link) = self.link.as_deref_mut() else {
            return;
        };
        match retained {
            Ok(answers) => {
                for (your, offset) in answers {
                    let answer = Message::Confirm {
                        your,
                        reason,
                        offset,
                    };
                    link.answer(your, &answer);
                }
                self.wake_reader();
            }
            Err(NotRetained::Failure(Failure::Peer(fault))) => {
                link.fault = Some(fault.into());
                self.lose();
            }
            // Not the peer's fault: the link stays, and each ring is answered.
            Err(own) => {
                for source in sources {
                    let answer = Message::Confirm {
                        your: source.ring,
                        reason,
                        offset: self.conn.recver.consumed(source),
                    };
                    link.answer(source.ring, &answer);
                    // A ring in pages of this guest ends with every CONFIRM.
                    if let Some(ring) = link.take_owned_peer_ring(source.ring)
                        && let Some(memory) = ring.memory
                    {
                        link.dispose_ring(self.guest, memory, ring.size);
                    }
                }
                if let NotRetained::Failure(Failure::Bug(bug)) = own {
                    self.guest.note_bug(bug);
                }
                self.end();
            }
        }
    }

    /// Both directions go back to TCP.
    pub(crate) fn fall_back(&mut self) {
        if !self.conn.recver.rings.is_empty() {
            self.confirm(Reason::Fallback);
        }
        // Behind a FIN the rings are drained soon, and nothing more is written.
        if self.conn.sender.fin == Fin::Open {
            self.ask_for_fallback();
        }
    }

    /// FALLBACK: asks for the rings of a sender to be confirmed. Behind a FIN every
    /// call asks.
    pub(crate) fn ask_for_fallback(&mut self) {
        let sender = &mut self.conn.sender;
        let (Some(link), Some(&own)) = (self.link.as_deref_mut(), sender.rings.last()) else {
            return;
        };
        if sender.path == Path::Ring && link.is_open() {
            // Behind a FIN nothing is written, and a DONE that crosses counts.
            if sender.fin == Fin::Open {
                sender.path = Path::Unconfirmed;
            }
            link.post(&Message::Fallback {
                own,
                reason: Reason::Fallback,
            });
        }
    }

    /// CONFIRM: the receiver takes nothing more from a ring; it has consumed it
    /// up to `offset`.
    #[inline(never)]
    pub(crate) fn confirmed(
        &mut self,
        number: RingNumber,
        reason: Reason,
        offset: u64,
    ) -> Result<(), Failure> {
        let Parts {
            key,
            conn,
            link,
            guest,
        } = self.parts()?;
        let sender = &mut conn.sender;
        let ring = link.own_ring_of(number, key);
        let ring = ring.ok_or(Bug("a confirmed ring is in use by its sender"))?;
        let (base, tail) = (ring.producer.base(), ring.producer.tail());
        let follows_residue = sender.residue.is_empty() || offset == base;
        let is_oldest = sender.rings.first() == Some(&number);
        if !is_oldest || offset < base || offset > tail || !follows_residue {
            return Err(PeerFault::Message.into());
        }
        sender.rings.remove(0);
        // Nothing is read back beyond the capacity.
        let len = usize::try_from(tail - offset).unwrap_or(usize::MAX);
        if len > ring.producer.capacity() {
            return Err(PeerFault::Message.into());
        }
        if offset > base {
            conn.is_shared = true;
            // What is left of an earlier ring comes before it.
            if sender.residue.is_empty() {
                sender.heard = sender.heard.max(offset);
            }
        }
        let start = sender.residue.len();
        let is_lost = sender.residue.try_reserve_exact(len).is_err();
        if !is_lost {
            sender.residue.resize(start + len, 0);
            let into = &mut sender.residue[start..];
            if ring.producer.read_back(&ring.memory, offset, into) != len {
                return Err(PeerFault::Message.into());
            }
        }
        let is_own = ring.memory.is_own();
        sender.refused |= reason.is_refusal();
        let is_last = sender.rings.is_empty();
        sender.path = if is_last {
            Path::Residue
        } else {
            Path::Unconfirmed
        };
        if !is_own {
            link.drop_in_peer_pages(guest, number);
        } else if reason == Reason::Unmapped {
            link.retire_own(number, guest.noticed);
        } else {
            link.idle_own(number, guest.noticed);
        }
        if is_last {
            link.counters.fallbacks += 1;
            guest.stats.fallbacks += 1;
        }
        if reason.is_refusal() {
            guest.stats.refused.count(reason);
        }
        if is_lost {
            self.end();
        } else if is_last {
            self.leave_ring();
        }
        Ok(())
    }

    /// All rings of the sender were confirmed: what is left goes into TCP.
    pub(crate) fn leave_ring(&mut self) {
        let sender = &mut self.conn.sender;
        if sender.residue.is_empty() && sender.fin == Fin::Open {
            sender.path = Path::Tcp;
            self.wake_writer();
        } else {
            self.want_service();
        }
    }

    /// DONE: the receiver has drained a ring to the next one's base, or to the
    /// FIN, or wants nothing more of this connection. Returns whether the sender
    /// has just moved from one ring to the next.
    #[inline(never)]
    pub(crate) fn done(&mut self, number: RingNumber, offset: u64) -> Result<bool, Failure> {
        let Parts {
            key,
            conn,
            link,
            guest,
        } = self.parts()?;
        let sender = &mut conn.sender;
        if sender.rings.first() != Some(&number) {
            return Err(PeerFault::Message.into());
        }
        let ring = link.own_ring_of(number, key);
        let ring = ring.ok_or(Bug("a ring that is done with is in use by its sender"))?;
        let is_complete = offset == ring.producer.tail();
        if is_complete && offset > ring.producer.base() {
            conn.is_shared = true;
            sender.heard = sender.heard.max(offset);
        }
        link.idle_own(number, guest.noticed);
        sender.rings.remove(0);
        if is_complete && !sender.rings.is_empty() {
            return Ok(true);
        }
        if is_complete && sender.fin == Fin::Wanted && sender.path == Path::Ring {
            sender.path = Path::Residue;
            self.want_service();
        } else {
            self.end();
        }
        Ok(false)
    }
}
