//! A direction moves to a ring, or to a larger one (docs/protocol.md,
//! "Upgrade", "A larger ring").

use super::conn::{Fin, Path, Source};
use super::view::{Flow, Parts};
use crate::error::{Bug, Failure, PeerFault};
use crate::limits::{FIRST_RING, GROWTH_LOG2, WRITES_BEFORE_RETRY};
use crate::link::budget::NoRoom;
use crate::platform::Platform;
use crate::wire::message::Reason;
use crate::wire::{Message, RingNumber, RingSize};

impl<P: Platform> Flow<'_, P> {
    /// Moves the sender from TCP to a ring, from the next byte on. If there is no
    /// room, some writes stay on TCP before the next try.
    pub(super) fn upgrade(&mut self) {
        let size = RingSize::within(FIRST_RING).min(self.guest.config.largest_size());
        match self.switch(size, None) {
            Ok(()) => self.guest.stats.upgrades += 1,
            Err(_) => self.conn.sender.writes_before_retry = WRITES_BEFORE_RETRY,
        }
    }

    /// Moves the sender from its ring to a larger one, if there is one; returns
    /// whether it moved.
    pub(super) fn grow(&mut self) -> Result<bool, Bug> {
        let Parts {
            key,
            conn,
            link,
            guest,
        } = self.parts()?;
        conn.sender.waits = 0;
        let &[number] = conn.sender.rings.as_slice() else {
            return Ok(false);
        };
        let largest = guest
            .config
            .largest_size()
            .min(link.largest_size(guest.noticed));
        let ring = link.own_ring_of(number, key);
        let size = ring.ok_or(Bug("a sender's ring is in use by it"))?.size;
        // A ring in pages of its reader does not grow; the sender moves back when
        // the notice is over.
        if !link.is_open() || size >= largest || link.wants_peer_pages(guest.noticed) {
            return Ok(false);
        }
        let larger = size.times_pow2(GROWTH_LOG2).min(largest);
        let has_grown = self.switch(larger, Some(size)).is_ok();
        self.guest.stats.growths += u64::from(has_grown);
        Ok(has_grown)
    }

    /// SWITCH to another ring, at the offset that the writer has come to.
    ///
    /// # Errors
    /// Which limit leaves no room; the sender stays where it is.
    #[inline(never)]
    pub(crate) fn switch(
        &mut self,
        size: RingSize,
        more_than: Option<RingSize>,
    ) -> Result<(), NoRoom> {
        let Self {
            key,
            conn,
            link: Some(link),
            guest,
        } = self
        else {
            return Err(NoRoom::Peer);
        };
        let taken = link.take_ring(guest, size, more_than);
        guest.wants_reclaim |= taken == Err(NoRoom::Guest);
        let own = taken?;
        let now = guest.platform.now();
        let base = conn.sender.written;
        let Some(ring) = link.own_ring_mut(own) else {
            guest.note_bug(Bug("a ring that was taken exists"));
            return Err(NoRoom::Link);
        };
        ring.begin(*key, base);
        if conn.sender.rings.push(own).is_err() {
            guest.note_bug(Bug("a sender that switches has one ring at most"));
        }
        conn.sender.path = Path::Ring;
        conn.sender.waits = 0;
        let tuple = conn.tuple;
        link.post(&Message::Switch { own, tuple, base });
        link.note_use(now);
        link.counters.upgrades += 1;
        Ok(())
    }

    /// Moves the sender to a ring where a migration wants it, or to a smaller one;
    /// returns the size that is missing if it has to move and cannot.
    pub(crate) fn rehome(&mut self) -> Option<RingSize> {
        let link = self.link.as_deref()?;
        let sender = &self.conn.sender;
        if self.conn.ended || sender.fin != Fin::Open || sender.path != Path::Ring {
            return None;
        }
        // One that is changing its ring already is looked at when that is done.
        let &[number] = sender.rings.as_slice() else {
            return None;
        };
        let ring = link.own_ring(number)?;
        let noticed = self.guest.noticed;
        let to_peer = link.wants_peer_pages(noticed);
        let largest = link.largest_size(noticed);
        // A connection without traffic goes back to TCP instead (`Vmc::trim`).
        let is_active = !to_peer || self.conn.has_traffic();
        let is_misplaced = ring.memory.is_own() == to_peer || ring.size > largest;
        if !is_active || !is_misplaced {
            return None;
        }
        let size = ring.size.min(largest);
        // A SWITCH must not be left behind: the bytes would be where nobody looks
        // for them.
        if link.outbox.is_behind() || self.switch(size, None).is_err() {
            return Some(size);
        }
        self.guest.stats.rehomed += 1;
        self.wake_writer();
        None
    }

    /// SWITCH: the peer's bytes go through a ring from `base` on. The ring exists
    /// and is not in use.
    #[inline(never)]
    pub(crate) fn switched(&mut self, number: RingNumber, base: u64) -> Result<(), Failure> {
        let link = self.link()?;
        let is_open = link.is_open();
        let is_mapped = link
            .peer_ring(number)
            .is_some_and(|ring| ring.memory.is_some());
        let refusal = if !is_open {
            Some(Reason::Leaving)
        } else if self.conn.ended || self.conn.recver.finished {
            Some(Reason::NoConnection)
        } else if !is_mapped {
            Some(Reason::Unmapped)
        } else {
            None
        };
        if let Some(reason) = refusal {
            // A ring before this one is given up with it.
            if !self.conn.recver.rings.is_empty() {
                self.confirm(reason);
            }
            if let Some(link) = self.link.as_deref_mut() {
                link.refuse_switch(self.guest, number, reason, base);
            }
            return Ok(());
        }
        let Parts {
            key,
            conn,
            link,
            guest,
        } = self.parts()?;
        let recver = &mut conn.recver;
        // What is before the base comes another way; the base cannot be behind it.
        let last = recver.rings.last().map(|source| source.base);
        let earliest = last
            .max(recver.unread.back().map(|unread| unread.end))
            .map_or(recver.received, |base| base.max(recver.received));
        if base < earliest {
            return Err(PeerFault::Message.into());
        }
        let source = Source { ring: number, base };
        if recver.rings.push(source).is_err() {
            return Err(PeerFault::Message.into());
        }
        let ring = link.peer_ring_mut(number);
        if !ring.is_some_and(|ring| ring.begin(key, base)) {
            return Err(Bug("the ring of a SWITCH is mapped").into());
        }
        link.note_use(guest.platform.now());
        conn.is_shared = true;
        self.finish_drained_ring();
        self.wake_reader();
        Ok(())
    }
}
