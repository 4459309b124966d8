//! The xenstore page as a plain buffer, with xenstored's half of the rings.

use alloc::{rc::Rc, vec, vec::Vec};
use core::{cell::RefCell, mem::offset_of};

use xen_sys::abi::xenstore_domain_interface as Layout;

use crate::xenstore::ring::{RING_BYTES, RingMemory};

/// The page; clones are views of the same page.
#[derive(Clone)]
pub(crate) struct Page(Rc<RefCell<Vec<u8>>>);

impl Page {
    /// Makes a page whose indices all start at `index`.
    pub(crate) fn starting_at(index: u32) -> Self {
        let page = Self(Rc::new(RefCell::new(vec![0; 4096])));
        for offset in [
            offset_of!(Layout, req_cons),
            offset_of!(Layout, req_prod),
            offset_of!(Layout, rsp_cons),
            offset_of!(Layout, rsp_prod),
        ] {
            page.store(offset, index);
        }
        page
    }

    /// Reads at most `limit` bytes from the request ring, as xenstored does.
    pub(crate) fn take_requests(&self, limit: usize) -> Vec<u8> {
        let consumer = self.load(offset_of!(Layout, req_cons));
        let waiting = self
            .load(offset_of!(Layout, req_prod))
            .wrapping_sub(consumer) as usize;
        assert!(waiting <= RING_BYTES, "the guest overran the request ring");
        let count = waiting.min(limit);
        let bytes = (0..count)
            .map(|at| {
                let mut byte = [0];
                let at = (consumer as usize + at) % RING_BYTES;
                self.read(offset_of!(Layout, req) + at, &mut byte);
                byte[0]
            })
            .collect();
        self.store(
            offset_of!(Layout, req_cons),
            consumer.wrapping_add(count as u32),
        );
        bytes
    }

    /// Writes at most `limit` bytes into the response ring; returns how many.
    pub(crate) fn put_responses(&self, bytes: &[u8], limit: usize) -> usize {
        let producer = self.load(offset_of!(Layout, rsp_prod));
        let used = producer.wrapping_sub(self.load(offset_of!(Layout, rsp_cons))) as usize;
        assert!(used <= RING_BYTES, "the guest overran the response ring");
        let count = bytes.len().min(limit).min(RING_BYTES - used);
        for (at, byte) in bytes[..count].iter().enumerate() {
            let at = (producer as usize + at) % RING_BYTES;
            self.write(offset_of!(Layout, rsp) + at, &[*byte]);
        }
        self.store(
            offset_of!(Layout, rsp_prod),
            producer.wrapping_add(count as u32),
        );
        count
    }

    /// Returns whether the response ring is full.
    pub(crate) fn is_full_of_responses(&self) -> bool {
        let producer = self.load(offset_of!(Layout, rsp_prod));
        let consumer = self.load(offset_of!(Layout, rsp_cons));
        producer.wrapping_sub(consumer) as usize >= RING_BYTES
    }

    /// Moves xenstored's indices by these amounts, wrapping, as a broken
    /// xenstored might.
    pub(crate) fn shift(&self, request_consumer: u32, response_producer: u32) {
        for (offset, by) in [
            (offset_of!(Layout, req_cons), request_consumer),
            (offset_of!(Layout, rsp_prod), response_producer),
        ] {
            self.store(offset, self.load(offset).wrapping_add(by));
        }
    }
}

impl RingMemory for Page {
    fn load(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn store(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn read(&self, offset: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.borrow()[offset..offset + bytes.len()]);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}
