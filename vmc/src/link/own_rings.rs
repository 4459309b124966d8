//! The rings of a link that this guest writes. As a rule it granted them, and
//! they stay granted for the next connection when one is done with them. Those
//! of a guest that migrates lie in pages of its peer (design rule R9).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::budget::{NoRoom, Share};
use super::pages::Pages;
use super::ring::{OwnRing, User};
use super::state::Link;
use crate::error::PeerFault;
use crate::guest::Guest;
use crate::keys::ConnKey;
use crate::platform::{Platform, PlatformError};
use crate::wire::{Message, References, RingNumber, RingSize};

/// Returns the grant references of a region as a message carries them.
pub(super) fn reference_bytes<P: Platform>(platform: &P, region: &P::Region) -> Vec<u8> {
    let mut references = Vec::new();
    platform.references(region, &mut references);
    let bytes = references.iter().flat_map(|one| one.to_le_bytes());
    bytes.collect()
}

impl<P: Platform> Link<P> {
    pub(crate) fn own_ring(&self, number: RingNumber) -> Option<&OwnRing<P>> {
        self.own.get(number.index())?.as_deref()
    }

    pub(crate) fn own_ring_mut(&mut self, number: RingNumber) -> Option<&mut OwnRing<P>> {
        self.own.get_mut(number.index())?.as_deref_mut()
    }

    /// Returns an own ring if `conn` uses it.
    pub(crate) fn own_ring_of(
        &mut self,
        number: RingNumber,
        conn: ConnKey,
    ) -> Option<&mut OwnRing<P>> {
        let ring = self.own_ring_mut(number)?;
        (ring.user == User::Conn(conn)).then_some(ring)
    }

    /// Returns the connection that uses an own ring.
    pub(crate) fn user_of(&self, number: RingNumber) -> Option<ConnKey> {
        match self.own_ring(number)?.user {
            User::Conn(conn) => Some(conn),
            User::Idle | User::Over | User::Retiring => None,
        }
    }

    fn put_own_ring(&mut self, number: RingNumber, ring: OwnRing<P>) {
        let at = number.index();
        if self.own.len() <= at {
            self.own.resize_with(at + 1, || None);
        }
        self.own[at] = Some(Box::new(ring));
    }

    /// Returns the first number that no own ring has, or is about to have.
    fn free_number(&self, guest: &Guest<P>) -> Option<RingNumber> {
        let is_free = |number: &RingNumber| {
            self.own_ring(*number).is_none()
                && !self.asked.iter().any(|(asked, _)| asked == number)
                && !self.unmappable.contains(number)
        };
        let all = (0..guest.config.max_rings()).filter_map(RingNumber::from_index);
        all.into_iter().find(is_free)
    }

    /// Takes an own ring for a connection: an idle one, or a new one of `size`.
    /// `more_than`: only a ring larger than this.
    ///
    /// # Errors
    /// Which limit leaves no room.
    pub(crate) fn take_ring(
        &mut self,
        guest: &mut Guest<P>,
        size: RingSize,
        more_than: Option<RingSize>,
    ) -> Result<RingNumber, NoRoom> {
        let in_peer_pages = self.wants_peer_pages(guest.noticed);
        let largest = self.largest_size(guest.noticed);
        let fits = |number: &RingNumber| {
            self.own_ring(*number).is_some_and(|ring| {
                ring.memory.is_own() != in_peer_pages
                    && ring.size <= largest
                    && more_than.is_none_or(|least| ring.size > least)
            })
        };
        if let Some(at) = self.idle.iter().rposition(fits) {
            self.counters.rings_reused += 1;
            return Ok(self.idle.remove(at));
        }
        let size = size.min(largest);
        if in_peer_pages {
            self.ask_for(guest, &[size]);
            return Err(NoRoom::Peer);
        }
        let taken = self.grant_ring(guest, size);
        if taken == Err(NoRoom::Link) {
            self.reclaim();
        }
        taken
    }

    /// Grants a new ring and tells the peer.
    fn grant_ring(&mut self, guest: &mut Guest<P>, size: RingSize) -> Result<RingNumber, NoRoom> {
        let pages = size.pages();
        let number = self.free_number(guest).ok_or(NoRoom::Link)?;
        guest.pool.may_grant(self.domid, pages)?;
        let region = match guest.platform.grant(self.domid, pages) {
            Ok(region) => region,
            Err(PlatformError::NoMemory | PlatformError::NoRoom) => return Err(NoRoom::Guest),
            Err(PlatformError::Refused) => return Err(NoRoom::Peer),
        };
        let references = reference_bytes(&guest.platform, &region);
        self.put_own_ring(number, OwnRing::new(Pages::Own(region), size));
        guest.pool.count_granted(self.share(size));
        self.counters.rings_granted += 1;
        self.post(&Message::Ring {
            own: number,
            size,
            references: References(&references),
        });
        Ok(number)
    }

    /// Takes the idle ring back that was used least recently, so that there is
    /// room the next time; returns whether there was one.
    pub(crate) fn reclaim(&mut self) -> bool {
        if !self.is_open() || self.idle.is_empty() {
            return false;
        }
        let own = self.idle.remove(0);
        self.retire(own);
        true
    }

    /// Gives all rings back that no connection uses.
    pub(crate) fn retire_idle(&mut self) {
        for own in core::mem::take(&mut self.idle) {
            self.retire(own);
        }
    }

    /// RETIRE for a ring that is in no list any more.
    fn retire(&mut self, own: RingNumber) {
        if let Some(ring) = self.own_ring_mut(own) {
            ring.user = User::Retiring;
        }
        self.post(&Message::Retire { own });
    }

    /// An own ring has no connection any more. During a migration it is given
    /// back at once. `noticed`: this guest is about to migrate.
    pub(crate) fn idle_own(&mut self, number: RingNumber, noticed: bool) {
        let Some(ring) = self.own_ring_mut(number) else {
            return;
        };
        if matches!(ring.user, User::Idle | User::Retiring) {
            return;
        }
        ring.user = User::Idle;
        self.used = self.used.saturating_sub(1);
        if self.in_migration(noticed) {
            self.retire(number);
        } else {
            self.idle.push(number);
        }
    }

    /// An own ring is of no use to the peer: it is given back.
    pub(crate) fn retire_own(&mut self, number: RingNumber, noticed: bool) {
        self.idle_own(number, noticed);
        if let Some(at) = self.idle.iter().rposition(|idle| *idle == number) {
            self.idle.remove(at);
            self.retire(number);
        }
    }

    /// An own ring was answered, by CONFIRM or DONE: returns the connection that
    /// uses it, if any is still interested. `has_ended`: a ring in pages of the
    /// peer is no more.
    pub(crate) fn own_ring_answered(
        &mut self,
        number: RingNumber,
        has_ended: bool,
        noticed: bool,
    ) -> Result<Option<ConnKey>, PeerFault> {
        let ring = self.own_ring(number).ok_or(PeerFault::Message)?;
        match ring.user {
            User::Conn(conn) => Ok(Some(conn)),
            User::Over => {
                if ring.memory.is_own() || !has_ended {
                    self.idle_own(number, noticed);
                }
                Ok(None)
            }
            // It is not in use any more.
            User::Idle | User::Retiring => Ok(None),
        }
    }

    /// RELEASED: the peer has unmapped a ring.
    pub(crate) fn own_ring_released(
        &mut self,
        guest: &mut Guest<P>,
        number: RingNumber,
    ) -> Result<(), PeerFault> {
        if let Some(at) = self.unmappable.iter().position(|ring| *ring == number) {
            self.unmappable.swap_remove(at);
            return Ok(());
        }
        let place = self.own.get_mut(number.index());
        let place = place.ok_or(PeerFault::Message)?;
        let ring = place.take_if(|ring| ring.user == User::Retiring);
        let ring = ring.ok_or(PeerFault::Message)?;
        self.dispose_ring(guest, ring.memory, ring.size);
        Ok(())
    }

    /// Forgets an own ring in pages of the peer, which has taken it back. A ring
    /// of this guest's pages stays.
    pub(crate) fn drop_in_peer_pages(&mut self, guest: &mut Guest<P>, number: RingNumber) {
        let place = self.own.get_mut(number.index());
        let Some(ring) = place.and_then(|place| place.take_if(|ring| !ring.memory.is_own())) else {
            return;
        };
        match ring.user {
            User::Idle => self.idle.retain(|idle| *idle != number),
            User::Conn(_) | User::Over => self.used = self.used.saturating_sub(1),
            User::Retiring => {}
        }
        self.count_unmapped(guest, ring.size.pages());
    }

    /// Whether any own ring lies in pages of the peer.
    pub(crate) fn writes_to_peer_pages(&self) -> bool {
        self.own.iter().flatten().any(|ring| !ring.memory.is_own())
    }

    /// ASK for rings in pages of the peer, as many as `sizes` has more than were
    /// asked for already.
    pub(crate) fn ask_for(&mut self, guest: &Guest<P>, sizes: &[RingSize]) {
        if self.peer_has_no_room {
            return;
        }
        for size in sizes.iter().skip(self.asked.len()) {
            if self.asked.is_full() || self.outbox.is_behind() {
                return;
            }
            let Some(own) = self.free_number(guest) else {
                return;
            };
            // There is room: see above.
            let _ = self.asked.push((own, *size));
            self.post(&Message::Ask { own, size: *size });
        }
    }

    /// GRANTED: the peer has granted a ring for this side to write to, or has no
    /// room for one. Returns whether there is a new ring.
    pub(crate) fn take_granted(
        &mut self,
        guest: &mut Guest<P>,
        number: RingNumber,
        size: RingSize,
        references: References<'_>,
    ) -> Result<bool, PeerFault> {
        let asked = self.asked.iter().position(|asked| *asked == (number, size));
        self.asked.remove(asked.ok_or(PeerFault::Message)?);
        if references.is_empty() {
            // The direction stays where it is, and its pages are sent.
            self.peer_has_no_room = true;
            return Ok(false);
        }
        let references: Vec<u32> = references.iter().collect();
        let may_map = guest.pool.may_map(self.domid, size.pages()).is_ok() && self.is_open();
        let mapping = may_map.then(|| guest.platform.map(self.domid, &references));
        let Some(Ok(mapping)) = mapping else {
            self.peer_has_no_room = true;
            self.post(&Message::Retire { own: number });
            return match self.unmappable.push(number) {
                Ok(()) => Ok(false),
                // It takes RETIREs and answers none.
                Err(_) => Err(PeerFault::Stuck),
            };
        };
        self.count_mapped(guest, size.pages());
        self.put_own_ring(number, OwnRing::new(Pages::Peers(mapping), size));
        self.idle.push(number);
        Ok(true)
    }

    /// Unmaps a ring, or takes it back.
    pub(crate) fn dispose_ring(&mut self, guest: &mut Guest<P>, memory: Pages<P>, size: RingSize) {
        match memory {
            Pages::Own(region) => guest.take_back(region, self.share(size)),
            Pages::Peers(mapping) => {
                self.count_unmapped(guest, size.pages());
                drop(mapping);
            }
        }
    }

    /// Returns what a ring in pages of this guest counts for.
    pub(crate) const fn share(&self, size: RingSize) -> Share {
        Share::ring(self.domid, size.pages())
    }

    pub(super) fn count_mapped(&mut self, guest: &mut Guest<P>, pages: usize) {
        self.mapped += pages;
        guest.pool.count_mapped(Share::ring(self.domid, pages));
    }

    fn count_unmapped(&mut self, guest: &mut Guest<P>, pages: usize) {
        self.mapped = self.mapped.saturating_sub(pages);
        guest.pool.count_unmapped(Share::ring(self.domid, pages));
    }
}
