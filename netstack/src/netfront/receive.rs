//! The receive ring: pages offered to the backend, and frames taken out of them.

use alloc::vec;
use alloc::vec::Vec;

use kernel::ring::FrontRing;

use super::Violation;
use super::assemble::Assembler;
use super::checksum::{Verdict, check};
use super::netif::{RxRequest, RxResponse};
use super::pages::{Backend, Granted, PageError};
use super::statistics::LinkStatistics;

/// Pages offered at first: netback needs room for its largest packet, which takes 18 slots, and
/// should not have to wait while the guest looks at one.
const FIRST_PAGES: usize = 32;

/// Responses looked at in one call, so that other tasks get their turn.
const LOOK_LIMIT: usize = 256;

/// The receiving half of a connection.
pub(super) struct Receiver<P: Granted> {
    ring: FrontRing<P, 8, 8>,
    /// Indexed by the id of a page's requests.
    pages: Vec<P>,
    /// The page offered in each slot of the ring. A response is in the slot of its request
    /// (netif.h), and extra info has no id: so the slot tells which page it is about.
    offered: Vec<u16>,
    posted: u32,
    taken: u32,
    max_pages: usize,
    /// Pages that the backend has used since the last `publish`.
    used: usize,
    unpublished: bool,
    assembler: Assembler,
}

/// What [`Receiver::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A frame, in [`Receiver::frame`].
    Frame,
    /// Nothing waits.
    Nothing,
    /// The call has done its share of work; there may be more.
    Later,
}

impl<P: Granted> Receiver<P> {
    /// Offers pages to `backend` in a new ring; under load more of them, up to `max_pages`.
    pub(super) fn new(
        backend: &mut impl Backend<Page = P>,
        max_pages: usize,
    ) -> Result<Self, PageError> {
        let ring = FrontRing::new(backend.page(true)?);
        let capacity = ring.capacity() as usize;
        let mut receiver = Self {
            offered: vec![0; capacity],
            ring,
            pages: Vec::new(),
            posted: 0,
            taken: 0,
            max_pages: max_pages.clamp(FIRST_PAGES, capacity),
            used: 0,
            unpublished: false,
            assembler: Assembler::new(),
        };
        receiver.grow(backend, FIRST_PAGES)?;
        receiver.ring.publish();
        Ok(receiver)
    }

    /// Returns the grant reference of the ring itself.
    pub(super) fn ring_reference(&self) -> u32 {
        self.ring.page().reference()
    }

    fn grow(
        &mut self,
        backend: &mut impl Backend<Page = P>,
        count: usize,
    ) -> Result<(), PageError> {
        for _ in 0..count {
            self.pages.push(backend.page(true)?);
            self.post((self.pages.len() - 1) as u16);
        }
        Ok(())
    }

    fn post(&mut self, id: u16) {
        let gref = self.pages[usize::from(id)].reference();
        self.ring.push(&RxRequest { id, gref }.encode());
        let slot = self.slot(self.posted);
        self.offered[slot] = id;
        self.posted = self.posted.wrapping_add(1);
        self.unpublished = true;
    }

    fn slot(&self, index: u32) -> usize {
        (index % self.ring.capacity()) as usize
    }

    /// Takes the next good frame; drops and counts bad ones.
    pub(super) fn next(&mut self, statistics: &mut LinkStatistics) -> Result<Received, Violation> {
        for _ in 0..LOOK_LIMIT {
            let Some(response) = self.ring.pop().map_err(|_| Violation::ReceiveOverrun)? else {
                return Ok(Received::Nothing);
            };
            let id = self.offered[self.slot(self.taken)];
            self.taken = self.taken.wrapping_add(1);
            self.used += 1;
            let done = if self.assembler.expects_extra() {
                self.assembler.extra(response)
            } else {
                let response = RxResponse::decode(response);
                if response.id != id {
                    return Err(Violation::ReceiveId);
                }
                let page = &self.pages[usize::from(id)];
                self.assembler
                    .data(response, |offset, into| page.read(offset, into))
            };
            // The data has been copied: the page can be offered again.
            self.post(id);
            match done {
                None => {}
                Some(Err(refused)) => statistics.count_refused(refused),
                Some(Ok(trust)) => match check(self.assembler.frame(), trust) {
                    Verdict::Good => {
                        statistics.rx_frames += 1;
                        statistics.rx_bytes += self.assembler.frame().len() as u64;
                        return Ok(Received::Frame);
                    }
                    Verdict::Bad => statistics.rx_bad_checksum += 1,
                    Verdict::Fragment => statistics.rx_fragments += 1,
                    Verdict::Malformed => statistics.rx_malformed += 1,
                },
            }
        }
        Ok(Received::Later)
    }

    /// Returns the frame that [`Self::next`] announced.
    pub(super) fn frame(&self) -> &[u8] {
        self.assembler.frame()
    }

    /// Shows the backend the pages offered since the last call, and more of them if it has used
    /// half of what it had. Returns whether it wants a notification; `None` if there was nothing
    /// to show.
    pub(super) fn publish(&mut self, backend: &mut impl Backend<Page = P>) -> Option<bool> {
        let have = self.pages.len();
        if self.used * 2 >= have && have < self.max_pages {
            let more = have.min(self.max_pages - have);
            if self.grow(backend, more).is_err() {
                // The guest has no more pages to spare.
                self.max_pages = self.pages.len();
            }
        }
        self.used = 0;
        core::mem::take(&mut self.unpublished).then(|| self.ring.publish())
    }

    /// Asks for an event at the next response; true if there is one already.
    pub(super) fn rearm(&mut self) -> bool {
        self.ring.rearm()
    }

    /// Whether a frame, or a part of one, waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.ring.has_response()
    }

    /// Returns the number of pages granted.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }
}
