//! A direction moves to a ring, or to a larger one (docs/protocol.md,
//! "Upgrade", "A larger ring").

use super::{Path, Source};
use crate::channel::Vmc;
use crate::limits::{FIRST_LOG2, GROWTH_LOG2, RETRY_WRITES};
use crate::message::{Message, Reason};
use crate::output::Cause;
use crate::platform::Platform;
use crate::ring::{Consumer, Producer};
use crate::stream::FourTuple;
use crate::vms::peer_rings::PeerRing;
use crate::vms::rings::{User, geometry, pages};

impl<P: Platform> Vmc<P> {
    /// Moves the sender of a connection from TCP to a ring, from the next byte on.
    pub(crate) fn upgrade(&mut self, at: usize) -> bool {
        let log2 = FIRST_LOG2.min(self.largest_log2());
        if self.switch(at, log2, None) {
            self.stats.upgrades += 1;
            return true;
        }
        if let Some(conn) = self.conns.get_mut(at) {
            conn.sender.hold = RETRY_WRITES;
        }
        false
    }

    /// Moves the sender of a connection from its ring to a larger one.
    pub(crate) fn grow(&mut self, at: usize) -> bool {
        let Some(conn) = self.conns.get_mut(at) else {
            return false;
        };
        conn.sender.waits = 0;
        let index = conn.link.and_then(|key| self.links.find(key));
        let (Some(index), &[number]) = (index, conn.sender.rings.as_slice()) else {
            return false;
        };
        let largest = self.largest_log2().min(self.most_log2(index));
        let Some(link) = self.links.get_mut(index).filter(|link| link.is_open()) else {
            return false;
        };
        let Some(log2) = link.own_of(number, at).map(|ring| ring.log2) else {
            return false;
        };
        // A ring of the reader's pages does not grow; it moves back when the
        // notice is over.
        if log2 >= largest || self.wants_home(index) {
            return false;
        }
        let grown = self.switch(at, (log2 + GROWTH_LOG2).min(largest), Some(log2));
        self.stats.growths += u64::from(grown);
        grown
    }

    /// SWITCH to another ring, at the offset that the writer has come to.
    pub(crate) fn switch(&mut self, at: usize, log2: u8, more_than: Option<u8>) -> bool {
        let key = self.conns.get(at).and_then(|conn| conn.link);
        let Some(index) = key.and_then(|key| self.links.find(key)) else {
            return false;
        };
        let Some(own) = self.take_ring(index, log2, more_than) else {
            return false;
        };
        let now = self.platform.now();
        let (Some(conn), Some(link)) = (self.conns.get_mut(at), self.links.get_mut(index)) else {
            return false;
        };
        let Some(Some(ring)) = link.own.get_mut(usize::from(own)) else {
            return false;
        };
        let base = conn.sender.written;
        ring.producer = if ring.memory.is_own() {
            Producer::new(&ring.memory, geometry(ring.log2), base)
        } else {
            Producer::sealable(&ring.memory, geometry(ring.log2), base)
        };
        ring.user = User::Conn(at);
        // Two at most: `grow` starts from one, `upgrade` from none.
        let _ = conn.sender.rings.push(own);
        conn.sender.path = Path::Ring;
        conn.sender.waits = 0;
        link.post(&Message::Switch {
            own,
            tuple: conn.tuple,
            base,
        });
        link.note_use(now);
        link.counters.upgrades += 1;
        true
    }

    /// SWITCH: the peer's bytes of a connection go through a ring from `base` on.
    pub(crate) fn switched(
        &mut self,
        index: usize,
        number: u16,
        tuple: FourTuple,
        base: u64,
    ) -> Result<(), Cause> {
        let key = self.links.key(index);
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        let is_open = link.is_open();
        let address = link.address;
        let Some(Some(ring)) = link.peers.get_mut(usize::from(number)) else {
            return Err(Cause::BadMessage);
        };
        if ring.user.is_some() {
            return Err(Cause::BadMessage);
        }
        // The message names both ends as its sender sees them.
        let tuple = FourTuple {
            local: tuple.remote,
            remote: tuple.local,
        };
        let at = self.tuples.get(&tuple).and_then(|id| self.conns.find(id.0));
        let conn = at.and_then(|at| Some((at, self.conns.get_mut(at)?)));
        let refusal = match (&conn, &ring.memory) {
            _ if tuple.remote.ip() != address => Some(Reason::WrongAddress),
            _ if !is_open => Some(Reason::Leaving),
            (None, _) => Some(Reason::NoConnection),
            (Some((_, conn)), _) if conn.ended || conn.recver.finished => {
                Some(Reason::NoConnection)
            }
            (Some((_, conn)), _) if conn.link != key => Some(Reason::NoConnection),
            (_, None) => Some(Reason::Unmapped),
            _ => None,
        };
        if let Some(reason) = refusal {
            // A ring before this one is given up with it.
            if let Some((at, conn)) = conn
                && conn.link == key
                && !conn.recver.rings.is_empty()
            {
                self.confirm(at, reason);
            }
            self.count_refusal(reason);
            let mut ring = None;
            if let Some(link) = self.links.get_mut(index) {
                link.post(&Message::Confirm {
                    your: number,
                    reason,
                    offset: base,
                });
                if link.owns_peer_ring(number) {
                    // A ring of this side's ends with every CONFIRM.
                    ring = link
                        .peers
                        .get_mut(usize::from(number))
                        .and_then(Option::take);
                }
            }
            if let Some(PeerRing {
                memory: Some(memory),
                log2,
                ..
            }) = ring.map(|ring| *ring)
            {
                self.dispose_ring(index, memory, pages(log2));
            }
            return Ok(());
        }
        let Some(((at, conn), mapping)) = conn.zip(ring.memory.as_ref()) else {
            return Ok(());
        };
        let recver = &mut conn.recver;
        // What is before the base comes by another way; it cannot be behind.
        let earliest = recver
            .rings
            .last()
            .map(|source| source.base)
            .max(conn.rest.back().map(|part| part.end))
            .map_or(recver.received, |base| base.max(recver.received));
        if recver.rings.is_full() || base < earliest {
            return Err(Cause::BadMessage);
        }
        let _ = recver.rings.push(Source { ring: number, base });
        let consumer = Consumer::new(geometry(ring.log2), base);
        consumer.attach(mapping);
        ring.consumer = Some(consumer);
        ring.user = Some(at);
        ring.unannounced = 0;
        let now = self.platform.now();
        if let Some(link) = self.links.get_mut(index) {
            link.note_use(now);
        }
        self.catch_up_reader(at);
        self.wake_reader(at);
        Ok(())
    }

    fn count_refusal(&mut self, reason: Reason) {
        self.stats.refusals.count(reason);
        if reason == Reason::WrongAddress {
            self.note_wrong_address();
        }
    }
}
