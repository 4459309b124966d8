//! The rings of a link that the peer writes. They stay when a connection is
//! done with them, until the peer wants them back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::own_rings::reference_bytes;
use super::pages::Pages;
use super::ring::PeerRing;
use super::state::Link;
use crate::error::PeerFault;
use crate::guest::Guest;
use crate::limits::FIRST_RING;
use crate::platform::Platform;
use crate::wire::message::Reason;
use crate::wire::{Message, References, RingNumber, RingSize};

impl<P: Platform> Link<P> {
    pub(crate) fn peer_ring(&self, number: RingNumber) -> Option<&PeerRing<P>> {
        self.peers.get(number.index())?.as_deref()
    }

    pub(crate) fn peer_ring_mut(&mut self, number: RingNumber) -> Option<&mut PeerRing<P>> {
        self.peers.get_mut(number.index())?.as_deref_mut()
    }

    fn put_peer_ring(&mut self, number: RingNumber, size: RingSize, memory: Option<Pages<P>>) {
        let at = number.index();
        if self.peers.len() <= at {
            self.peers.resize_with(at + 1, || None);
        }
        self.peers[at] = Some(Box::new(PeerRing::new(memory, size)));
    }

    /// A connection lets go of a ring of the peer, and says so by `message`.
    pub(crate) fn let_go_of_ring(&mut self, number: RingNumber, message: &Message<'_>) {
        if let Some(ring) = self.peer_ring_mut(number)
            && ring.user.take().is_some()
        {
            ring.consumer = None;
            self.used = self.used.saturating_sub(1);
            self.post(message);
        }
    }

    /// Answers for a ring that is given up, or was sealed and is not here any
    /// more.
    pub(crate) fn answer(&mut self, number: RingNumber, message: &Message<'_>) {
        if self.peer_ring(number).is_some() {
            self.let_go_of_ring(number, message);
        } else {
            self.post(message);
        }
    }

    /// Whether this guest granted the pages of a ring that the peer writes.
    pub(crate) fn owns_peer_ring(&self, number: RingNumber) -> bool {
        let memory = self.peer_ring(number).and_then(|ring| ring.memory.as_ref());
        memory.is_some_and(Pages::is_own)
    }

    /// Removes a ring that the peer writes, if this guest granted its pages.
    pub(crate) fn take_owned_peer_ring(&mut self, number: RingNumber) -> Option<Box<PeerRing<P>>> {
        let place = self.peers.get_mut(number.index())?;
        place.take_if(|ring| ring.memory.as_ref().is_some_and(Pages::is_own))
    }

    /// Refuses the SWITCH to a ring, which is not in use. A ring in pages of this
    /// guest ends with every CONFIRM.
    pub(crate) fn refuse_switch(
        &mut self,
        guest: &mut Guest<P>,
        number: RingNumber,
        reason: Reason,
        base: u64,
    ) {
        guest.stats.refusals.count(reason);
        if reason == Reason::WrongAddress {
            guest.note_wrong_address();
        }
        self.post(&Message::Confirm {
            your: number,
            reason,
            offset: base,
        });
        if let Some(ring) = self.take_owned_peer_ring(number)
            && let Some(memory) = ring.memory
        {
            self.dispose_ring(guest, memory, ring.size);
        }
    }

    /// RING: the peer has granted a ring that it will write.
    pub(crate) fn take_peer_ring(
        &mut self,
        guest: &mut Guest<P>,
        number: RingNumber,
        size: RingSize,
        references: References<'_>,
    ) -> Result<(), PeerFault> {
        if self.peer_ring(number).is_some() {
            return Err(PeerFault::Message);
        }
        let may_map = number.index() < guest.config.max_rings()
            && guest.pool.may_map(self.domid, size.pages()).is_ok()
            && self.is_open();
        let mut memory = None;
        if may_map {
            let references: Vec<u32> = references.iter().collect();
            let mapping = guest.platform.map(self.domid, &references);
            memory = mapping.ok().map(Pages::Peers);
        }
        if memory.is_some() {
            self.count_mapped(guest, size.pages());
        }
        self.put_peer_ring(number, size, memory);
        Ok(())
    }

    /// RETIRE: the peer wants a ring back.
    pub(crate) fn retire_peer_ring(
        &mut self,
        guest: &mut Guest<P>,
        number: RingNumber,
    ) -> Result<(), PeerFault> {
        let place = self.peers.get_mut(number.index());
        let place = place.ok_or(PeerFault::Message)?;
        // A ring in use stays: closing the link needs to find it.
        let ring = place.take_if(|ring| ring.user.is_none());
        let ring = ring.ok_or(PeerFault::Message)?;
        if let Some(memory) = ring.memory {
            self.dispose_ring(guest, memory, ring.size);
        }
        self.post(&Message::Released { your: number });
        Ok(())
    }

    /// ASK: the peer wants a ring to write to, in pages of this guest.
    pub(crate) fn grant_asked(
        &mut self,
        guest: &mut Guest<P>,
        number: RingNumber,
        size: RingSize,
    ) -> Result<(), PeerFault> {
        if self.peer_ring(number).is_some() {
            return Err(PeerFault::Message);
        }
        let largest = guest
            .config
            .largest_size()
            .max(RingSize::within(FIRST_RING));
        let may_grant = number.index() < guest.config.max_rings()
            && size <= largest
            && guest.pool.may_grant(self.domid, size.pages()).is_ok()
            && self.is_open();
        let region = may_grant.then(|| guest.platform.grant(self.domid, size.pages()).ok());
        let region = region.flatten();
        // An empty list tells the peer that there is no room.
        let references = region.as_ref();
        let references = references.map(|region| reference_bytes(&guest.platform, region));
        self.post(&Message::Granted {
            your: number,
            size,
            references: References(&references.unwrap_or_default()),
        });
        if let Some(region) = region {
            guest.pool.count_granted(self.share(size));
            self.counters.rings_granted += 1;
            self.put_peer_ring(number, size, Some(Pages::Own(region)));
        }
        Ok(())
    }
}
