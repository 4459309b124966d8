//! The frontend's half of a shared I/O ring (`xen/include/public/io/ring.h`).
//!
//! The producer and consumer indices that decide what this side does are kept
//! in private memory; the shared ones are fetched once and checked.

use crate::shared::SharedMemory;
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{Ordering, fence};
use xen_sys::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD, SLOTS, capacity};

/// What a backend did that no correct backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingError {
    /// It claims more responses than there were requests.
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
    /// What the backend has been shown of `req_prod`.
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

    /// Number of slots.
    pub fn capacity(&self) -> u32 {
        Self::CAPACITY
    }

    /// Requests that can be pushed before a response has to come.
    pub fn free_requests(&self) -> u32 {
        Self::CAPACITY - self.req_prod.wrapping_sub(self.rsp_cons)
    }

    fn slot(index: u32) -> usize {
        SLOTS + (index & (Self::CAPACITY - 1)) as usize * Self::SLOT
    }

    /// Puts a request in the next slot; the backend sees it at [`publish`](Self::publish).
    ///
    /// # Panics
    /// When the ring is full: ask [`free_requests`](Self::free_requests) first.
    pub fn push(&mut self, request: &[u8; REQ]) {
        assert!(self.free_requests() > 0, "the ring is full");
        self.page.write(Self::slot(self.req_prod), request);
        self.req_prod = self.req_prod.wrapping_add(1);
    }

    /// Shows the pushed requests to the backend. True where it wants a
    /// notification (`RING_PUSH_REQUESTS_AND_CHECK_NOTIFY`).
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
    /// [`RingError::Overrun`]; the ring cannot be used any more.
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

    /// Asks for an event at the next response. True where one came meanwhile,
    /// so that the caller goes on popping (`RING_FINAL_CHECK_FOR_RESPONSES`).
    pub fn rearm(&mut self) -> bool {
        self.page
            .store_u32(RSP_EVENT, self.rsp_cons.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.page.load_u32(RSP_PROD, Ordering::Acquire) != self.rsp_cons
    }

    /// The page that holds the ring.
    pub fn page(&self) -> &P {
        &self.page
    }
}
