//! The rings of a link that the peer granted. They stay mapped when a
//! connection is done with them, until the peer wants them back.

use alloc::vec::Vec;

use super::link::Link;
use super::rings::pages;
use crate::channel::Vmc;
use crate::limits::PAGE;
use crate::message::{Message, References};
use crate::output::Cause;
use crate::platform::Platform;
use crate::ring::Consumer;

/// A ring that the peer granted and writes.
pub(crate) struct PeerRing<P: Platform> {
    /// None: it could not be mapped.
    pub(crate) mapping: Option<P::Mapping>,
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
        let mut mapping = None;
        if fits && link.is_open() {
            let references: Vec<u32> = references.iter().collect();
            mapping = self.platform.map(link.domid, &references).ok();
        }
        if mapping.is_some() {
            link.mapped_pages += pages;
            self.stats.mapped_pages += pages;
        }
        if link.peers.len() <= at {
            link.peers.resize_with(at + 1, || None);
        }
        link.peers[at] = Some(PeerRing {
            mapping,
            log2,
            user: None,
            consumer: None,
            noted: false,
            unannounced: 0,
        });
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
                if ring.mapping.is_some() {
                    link.mapped_pages -= pages(ring.log2);
                    self.stats.mapped_pages -= pages(ring.log2);
                }
                drop(ring);
                link.post(&Message::Released { your: number });
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
