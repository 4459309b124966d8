//! The two byte rings of the xenstore page (`struct xenstore_domain_interface`).
//!
//! Both sides can write the page: the other side's indices are fetched once and
//! checked, and our own are kept here and only published.

use core::{
    mem::offset_of,
    sync::atomic::{Ordering, fence},
};

use xen_sys::abi::{self, xenstore_domain_interface as Page};

use super::error::ProtocolError;
use crate::shared::SharedMemory;

/// Bytes of each ring.
pub(super) const RING_BYTES: usize = abi::XENSTORE_RING_SIZE as usize;

/// Access to the xenstore page; a trait, so that tests can use an ordinary
/// buffer instead.
pub(super) trait RingMemory {
    /// Reads an index at a byte offset, with acquire ordering.
    fn load(&self, offset: usize) -> u32;
    /// Writes an index at a byte offset, with release ordering.
    fn store(&self, offset: usize, value: u32);
    /// Copies bytes out of the page.
    fn read(&self, offset: usize, bytes: &mut [u8]);
    /// Copies bytes into the page.
    fn write(&self, offset: usize, bytes: &[u8]);
}

impl<P: core::ops::Deref<Target = SharedMemory>> RingMemory for P {
    fn load(&self, offset: usize) -> u32 {
        self.load_u32(offset, Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        self.store_u32(offset, value, Ordering::Release);
    }

    fn read(&self, offset: usize, bytes: &mut [u8]) {
        (**self).read(offset, bytes);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        (**self).write(offset, bytes);
    }
}

/// Our half of both rings: the indices that this side advances.
pub(super) struct Rings {
    request_producer: u32,
    response_consumer: u32,
}

/// The result of a receive.
pub(super) struct Received {
    /// Number of bytes written to the front of the buffer.
    pub bytes: usize,
    /// xenstored may be waiting for room and has to be notified.
    pub notify: bool,
}

impl Rings {
    /// Takes our indices from the page, as the domain builder or an earlier
    /// user left them.
    pub(super) fn attach(page: &impl RingMemory) -> Self {
        Self {
            request_producer: page.load(offset_of!(Page, req_prod)),
            response_consumer: page.load(offset_of!(Page, rsp_cons)),
        }
    }

    /// Attaches to the rings in a new domain, and discards what an earlier
    /// xenstored left in the response ring.
    pub(super) fn attach_emptied(page: &impl RingMemory) -> Self {
        let producer = page.load(offset_of!(Page, rsp_prod));
        page.store(offset_of!(Page, rsp_cons), producer);
        Self::attach(page)
    }

    /// Writes as many of `bytes` as fit and returns how many. Unless that is 0,
    /// xenstored has to be notified.
    ///
    /// # Errors
    /// [`ProtocolError::RingCorrupt`].
    pub(super) fn send(
        &mut self,
        page: &impl RingMemory,
        bytes: &[u8],
    ) -> Result<usize, ProtocolError> {
        let consumer = page.load(offset_of!(Page, req_cons));
        let used = distance(consumer, self.request_producer)?;
        let count = bytes.len().min(RING_BYTES - used);
        let at = self.request_producer as usize % RING_BYTES;
        let (first, second) = bytes[..count].split_at(count.min(RING_BYTES - at));
        page.write(offset_of!(Page, req) + at, first);
        page.write(offset_of!(Page, req), second);
        // At most RING_BYTES, so it fits; indices wrap at 2^32 by design.
        self.request_producer = self.request_producer.wrapping_add(count as u32);
        page.store(offset_of!(Page, req_prod), self.request_producer);
        Ok(count)
    }

    /// Reads what has arrived, as much as fits `buffer`.
    ///
    /// # Errors
    /// [`ProtocolError::RingCorrupt`].
    pub(super) fn receive(
        &mut self,
        page: &impl RingMemory,
        buffer: &mut [u8],
    ) -> Result<Received, ProtocolError> {
        let producer = page.load(offset_of!(Page, rsp_prod));
        let available = distance(self.response_consumer, producer)?;
        let count = available.min(buffer.len());
        if count == 0 {
            return Ok(Received {
                bytes: 0,
                notify: false,
            });
        }
        let at = self.response_consumer as usize % RING_BYTES;
        let (first, second) = buffer[..count].split_at_mut(count.min(RING_BYTES - at));
        page.read(offset_of!(Page, rsp) + at, first);
        page.read(offset_of!(Page, rsp), second);
        let before = self.response_consumer;
        self.response_consumer = before.wrapping_add(count as u32);
        page.store(offset_of!(Page, rsp_cons), self.response_consumer);
        // xenstored sleeps only on a ring that it filled. Check its index after
        // ours is visible: either it sees the room, or we see that the ring was
        // full.
        fence(Ordering::SeqCst);
        let filled = page.load(offset_of!(Page, rsp_prod)).wrapping_sub(before);
        Ok(Received {
            bytes: count,
            notify: filled as usize >= RING_BYTES,
        })
    }
}

/// Returns the bytes from `consumer` to `producer`; more than the ring holds is
/// a protocol error.
fn distance(consumer: u32, producer: u32) -> Result<usize, ProtocolError> {
    let bytes = producer.wrapping_sub(consumer) as usize;
    if bytes > RING_BYTES {
        return Err(ProtocolError::RingCorrupt);
    }
    Ok(bytes)
}
