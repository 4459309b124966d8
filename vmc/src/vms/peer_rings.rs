//! The rings of a link that the peer writes. They stay when a connection is
//! done with them, until the peer wants no more of them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::link::Link;
use super::memory::Pages;
use super::rings::pages;
use crate::channel::Vmc;
use crate::limits::PAGE;
use crate::message::{Message, References};
use crate::output::Cause;
use crate::platform::Platform;
use crate::ring::Consumer;

/// A ring that the peer writes.
pub(crate) struct PeerRing<P: Platform> {
    /// None: it could not be mapped.
    pub(crate) memory: Option<Pages<P>>,
    pub(crate) log2: u8,
    /// The connection at this index uses it.
    pub(crate) user: Option<usize>,
    pub(crate) consumer: Option<Consumer>,
    /// It is in the list of notifications put off.
    pub(crate) noted: bool,
    /// Bytes taken that the producer was not told of.
    pub(crate) unannounced: usize,
}

impl<P: Platform> Link<P> {
    /// A connection lets go of a ring of the peer's, and says so by `message`.
    pub(crate) fn let_go(&mut self, number: u16, message: &Message<'_>) {
        if let Some(Some(ring)) = self.peers.get_mut(usize::from(number))
            && ring.user.take().is_some()
        {
            ring.consumer = None;
            self.used = self.used.saturating_sub(1);
            self.post(message);
        }
    }

    /// A ring that no connection uses yet.
    pub(crate) fn put_peer_ring(&mut self, at: usize, log2: u8, memory: Option<Pages<P>>) {
        if self.peers.len() <= at {
            self.peers.resize_with(at + 1, || None);
        }
        self.peers[at] = Some(Box::new(PeerRing {
            memory,
            log2,
            user: None,
            consumer: None,
            noted: false,
            unannounced: 0,
        }));
    }

    /// Whether this guest granted the pages of a ring of the peer's.
    pub(crate) fn owns_peer_ring(&self, number: u16) -> bool {
        let ring = self.peers.get(usize::from(number));
        let memory = ring.and_then(|ring| ring.as_ref()?.memory.as_ref());
        memory.is_some_and(Pages::is_own)
    }

    /// Answers for a ring that is given up, or was sealed and is no longer there.
    pub(crate) fn answer(&mut self, number: u16, message: &Message<'_>) {
        match self.peers.get(usize::from(number)) {
            Some(Some(_)) => self.let_go(number, message),
            _ => self.post(message),
        }
    }
}

impl<P: Platform> Vmc<P> {
    /// RING: the peer has granted a ring.
    pub(crate) fn take_peer_ring(
        &mut self,
        index: usize,
        number: u16,
        log2: u8,
        references: References<'_>,
    ) -> Result<(), Cause> {
        let max_rings = self.max_rings();
        let total = self.config.memory / PAGE;
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        let at = usize::from(number);
        if matches!(link.peers.get(at), Some(Some(_))) {
            return Err(Cause::BadMessage);
        }
        let pages = pages(log2);
        let fits = at < max_rings
            && link.mapped_pages + pages <= total / 2
            && self.stats.mapped_pages + pages <= total;
        let mut memory = None;
        if fits && link.is_open() {
            let references: Vec<u32> = references.iter().collect();
            let mapping = self.platform.map(link.domid, &references);
            memory = mapping.ok().map(Pages::Peers);
        }
        if memory.is_some() {
            link.mapped_pages += pages;
            self.stats.mapped_pages += pages;
        }
        link.put_peer_ring(at, log2, memory);
        Ok(())
    }

    /// RETIRE: the peer wants a ring back.
    pub(crate) fn retire_peer_ring(&mut self, index: usize, number: u16) -> Result<(), Cause> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        let Some(place) = link.peers.get_mut(usize::from(number)) else {
            return Err(Cause::BadMessage);
        };
        match place.take() {
            Some(ring) if ring.user.is_none() => {
                if let Some(memory) = ring.memory {
                    self.dispose_ring(index, memory, pages(ring.log2));
                }
                if let Some(link) = self.links.get_mut(index) {
                    link.post(&Message::Released { your: number });
                }
                Ok(())
            }
            // Put back: closing the link needs to find it.
            Some(ring) => {
                *place = Some(ring);
                Err(Cause::BadMessage)
            }
            None => Err(Cause::BadMessage),
        }
    }
}
