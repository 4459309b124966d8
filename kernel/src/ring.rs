//! The frontend's half of a shared I/O ring (`xen/include/public/io/ring.h`).
//!
//! The producer and consumer indices that this side relies on are kept in private memory; the
//! shared ones are fetched once and checked.

use crate::shared::SharedMemory;
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{Ordering, fence};
use xen_sys::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD, SLOTS, capacity};

/// How a backend broke the ring's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingError {
    /// The backend claims more responses than there were requests.
    Overrun,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overrun => f.write_str("the backend claims more responses than requests"),
        }
    }
}

impl core::error::Error for RingError {}

/// The frontend's half of a ring in `page`: requests of `REQ` bytes go out,
/// responses of `RSP` bytes come in, in slots of the larger size.
#[derive(Debug)]
pub struct FrontRing<P, const REQ: usize, const RSP: usize> {
    page: P,
    req_prod: u32,
    /// The value of `req_prod` that the backend has been shown.
    published: u32,
    rsp_cons: u32,
}

impl<P: Deref<Target = SharedMemory>, const REQ: usize, const RSP: usize> FrontRing<P, REQ, RSP> {
    const SLOT: usize = if REQ > RSP { REQ } else { RSP };
    const CAPACITY: u32 = capacity(Self::SLOT);

    /// Initialises the indices in `page` (`SHARED_RING_INIT`).
    pub fn new(page: P) -> Self {
        page.store_u32(REQ_PROD, 0, Ordering::Relaxed);
        page.store_u32(RSP_PROD, 0, Ordering::Relaxed);
        page.store_u32(REQ_EVENT, 1, Ordering::Relaxed);
        page.store_u32(RSP_EVENT, 1, Ordering::Release);
        Self {
            page,
            req_prod: 0,
            published: 0,
            rsp_cons: 0,
        }
    }

    /// Returns the number of slots.
    pub fn capacity(&self) -> u32 {
        Self::CAPACITY
    }

    /// Returns how many requests can be pushed before a response must arrive.
    pub fn free_requests(&self) -> u32 {
        Self::CAPACITY - self.req_prod.wrapping_sub(self.rsp_cons)
    }

    fn slot(index: u32) -> usize {
        SLOTS + (index & (Self::CAPACITY - 1)) as usize * Self::SLOT
    }

    /// Puts a request into the next slot; [`publish`](Self::publish) shows it to the backend.
    ///
    /// # Panics
    /// If the ring is full: check [`free_requests`](Self::free_requests) first.
    pub fn push(&mut self, request: &[u8; REQ]) {
        assert!(self.free_requests() > 0, "the ring is full");
        self.page.write(Self::slot(self.req_prod), request);
        self.req_prod = self.req_prod.wrapping_add(1);
    }

    /// Shows the pushed requests to the backend. Returns true if it wants a notification
    /// (`RING_PUSH_REQUESTS_AND_CHECK_NOTIFY`).
    pub fn publish(&mut self) -> bool {
        let old = core::mem::replace(&mut self.published, self.req_prod);
        self.page
            .store_u32(REQ_PROD, self.req_prod, Ordering::Release);
        fence(Ordering::SeqCst);
        let event = self.page.load_u32(REQ_EVENT, Ordering::Relaxed);
        self.req_prod.wrapping_sub(event) < self.req_prod.wrapping_sub(old)
    }

    /// Takes the next response.
    ///
    /// # Errors
    /// [`RingError::Overrun`], after which the ring is unusable.
    pub fn pop(&mut self) -> Result<Option<[u8; RSP]>, RingError> {
        let rsp_prod = self.page.load_u32(RSP_PROD, Ordering::Acquire);
        let waiting = rsp_prod.wrapping_sub(self.rsp_cons);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.req_prod.wrapping_sub(self.rsp_cons) {
            return Err(RingError::Overrun);
        }
        let mut response = [0; RSP];
        self.page.read(Self::slot(self.rsp_cons), &mut response);
        self.rsp_cons = self.rsp_cons.wrapping_add(1);
        Ok(Some(response))
    }

    /// Asks for an event at the next response. Returns true if a response has arrived meanwhile, so
    /// that the caller keeps popping (`RING_FINAL_CHECK_FOR_RESPONSES`).
    pub fn rearm(&mut self) -> bool {
        self.page
            .store_u32(RSP_EVENT, self.rsp_cons.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.page.load_u32(RSP_PROD, Ordering::Acquire) != self.rsp_cons
    }

    /// Returns whether there is a response, without writing to the page.
    #[must_use]
    pub fn has_response(&self) -> bool {
        self.page.load_u32(RSP_PROD, Ordering::Acquire) != self.rsp_cons
    }

    /// Returns the page that holds the ring.
    pub fn page(&self) -> &P {
        &self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::SharedPage;
    use alloc::collections::VecDeque;
    use proptest::prelude::*;

    type Ring = FrontRing<SharedPage, 12, 4>;

    /// The backend's half, written after io/ring.h for the tests.
    #[derive(Default)]
    struct Backend {
        req_cons: u32,
        rsp_prod: u32,
    }

    impl Backend {
        fn request(&mut self, page: &SharedMemory) -> Option<[u8; 12]> {
            if page.load_u32(REQ_PROD, Ordering::Acquire) == self.req_cons {
                return None;
            }
            let mut request = [0; 12];
            page.read(SLOTS + (self.req_cons % 256) as usize * 12, &mut request);
            self.req_cons = self.req_cons.wrapping_add(1);
            Some(request)
        }

        /// Returns true if the frontend asked for a notification.
        fn respond(&mut self, page: &SharedMemory, response: [u8; 4]) -> bool {
            page.write(SLOTS + (self.rsp_prod % 256) as usize * 12, &response);
            let old = self.rsp_prod;
            self.rsp_prod = old.wrapping_add(1);
            page.store_u32(RSP_PROD, self.rsp_prod, Ordering::Release);
            page.load_u32(RSP_EVENT, Ordering::Relaxed)
                .wrapping_sub(old)
                == 1
        }
    }

    fn ring() -> Ring {
        FrontRing::new(SharedPage::new().expect("memory"))
    }

    #[test]
    fn a_page_holds_the_slots_that_the_header_computes() {
        assert_eq!(ring().capacity(), 256);
        let rx = FrontRing::<_, 8, 8>::new(SharedPage::new().expect("memory"));
        assert_eq!(rx.capacity(), 256);
    }

    #[test]
    fn impossible_responses_are_an_error() {
        let mut ring = ring();
        ring.push(&[1; 12]);
        ring.publish();
        for claimed in [2, 257, u32::MAX] {
            ring.page().store_u32(RSP_PROD, claimed, Ordering::Relaxed);
            assert_eq!(ring.pop(), Err(RingError::Overrun));
        }
    }

    #[test]
    #[should_panic(expected = "full")]
    fn a_full_ring_takes_no_request() {
        let mut ring = ring();
        for _ in 0..=256 {
            ring.push(&[0; 12]);
        }
    }

    #[test]
    fn only_a_backend_that_waits_is_notified() {
        let mut ring = ring();
        ring.push(&[0; 12]);
        assert!(ring.publish(), "req_event is 1 after initialisation");
        ring.push(&[0; 12]);
        assert!(!ring.publish());
        ring.page().store_u32(REQ_EVENT, 3, Ordering::Relaxed);
        ring.push(&[0; 12]);
        assert!(ring.publish());
    }

    proptest! {
        /// In any order of steps, requests and responses arrive once, in order and unchanged, and
        /// the frontend never sleeps while a response waits.
        #[test]
        fn everything_arrives_in_order(steps in prop::collection::vec(0u8..4, 1..3000)) {
            let mut ring = ring();
            let mut backend = Backend::default();
            let (mut sent, mut expected) = (0u32, 0u32);
            let mut taken = VecDeque::new();
            let mut asleep = false;
            for step in steps {
                match step {
                    0 if ring.free_requests() > 0 => {
                        let mut request = [0; 12];
                        request[..4].copy_from_slice(&sent.to_le_bytes());
                        ring.push(&request);
                        sent += 1;
                    }
                    1 => { ring.publish(); }
                    2 => {
                        let page: &SharedMemory = ring.page();
                        if let Some(request) = backend.request(page) {
                            taken.push_back(request);
                        } else if let Some(request) = taken.pop_front() {
                            let mut response = [0; 4];
                            response.copy_from_slice(&request[..4]);
                            if backend.respond(page, response) {
                                asleep = false;
                            }
                        }
                    }
                    _ => {
                        prop_assert!(!asleep || ring.pop() == Ok(None), "an event was missed");
                        while let Some(response) = ring.pop().expect("honest") {
                            prop_assert_eq!(u32::from_le_bytes(response), expected);
                            expected += 1;
                        }
                        asleep = !ring.rearm();
                        prop_assert!(asleep);
                    }
                }
            }
        }
    }
}
