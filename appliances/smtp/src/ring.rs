//! The bounded byte queue between the core and a socket.
//!
//! A ring rather than a growing vector: a message is never held, so the queue
//! in front of a slow peer must have a fixed size, and taking bytes from its
//! front must not move the rest.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// A byte queue of fixed capacity, allocated by [`Ring::prepare`] or with its first byte.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: Box<[u8]>,
    capacity: usize,
    head: usize,
    len: usize,
}

impl Ring {
    /// Makes an empty ring for `capacity` bytes; it takes no memory yet.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            bytes: Box::default(),
            capacity,
            head: 0,
            len: 0,
        }
    }

    /// Takes the memory for its bytes, so that no [`Ring::put`] has to; returns whether there is
    /// enough.
    pub(crate) fn prepare(&mut self) -> bool {
        if self.bytes.is_empty() {
            let mut bytes = Vec::new();
            if bytes.try_reserve_exact(self.capacity).is_err() {
                return false;
            }
            bytes.resize(self.capacity, 0);
            self.bytes = bytes.into_boxed_slice();
        }
        true
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many bytes can be put in now.
    pub(crate) fn space(&self) -> usize {
        self.capacity - self.len
    }

    /// Appends `bytes`. The caller has checked [`Ring::space`]: all callers
    /// reserve room for their longest item, so nothing is ever cut off.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.space(), "room is reserved before");
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.capacity].into_boxed_slice();
        }
        let bytes = &bytes[..bytes.len().min(self.space())];
        let tail = (self.head + self.len) % self.capacity.max(1);
        let first = bytes.len().min(self.capacity - tail);
        self.bytes[tail..tail + first].copy_from_slice(&bytes[..first]);
        self.bytes[..bytes.len() - first].copy_from_slice(&bytes[first..]);
        self.len += bytes.len();
    }

    /// Returns the longest contiguous piece at the front.
    pub(crate) fn front(&self) -> &[u8] {
        let end = (self.head + self.len).min(self.bytes.len());
        &self.bytes[self.head..end]
    }

    /// Drops `count` bytes from the front, or all if there are fewer.
    pub(crate) fn take(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len -= count;
        self.head = match self.len {
            0 => 0,
            _ => (self.head + count) % self.capacity,
        };
    }

    /// Drops everything and gives the memory back.
    pub(crate) fn release(&mut self) {
        *self = Self::new(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_across_the_wrap() {
        let mut ring = Ring::new(5);
        let mut out = Vec::new();
        for chunk in [&b"abc"[..], b"de", b"f", b"ghij"] {
            while ring.space() < chunk.len() {
                out.extend_from_slice(&ring.front()[..1]);
                ring.take(1);
            }
            ring.put(chunk);
        }
        while !ring.is_empty() {
            let n = ring.front().len();
            out.extend_from_slice(ring.front());
            ring.take(n);
        }
        assert_eq!(out, b"abcdefghij");
        assert_eq!(ring.space(), 5);
    }

    #[test]
    fn an_unused_or_released_ring_holds_no_memory() {
        let mut ring = Ring::new(4096);
        assert!(ring.bytes.is_empty() && ring.front().is_empty());
        ring.put(b"x");
        assert_eq!(ring.bytes.len(), 4096);
        ring.release();
        assert!(ring.bytes.is_empty() && ring.is_empty());
    }

    #[test]
    fn taking_more_than_there_is_empties_it() {
        let mut ring = Ring::new(4);
        ring.put(b"ab");
        ring.take(9);
        assert!(ring.is_empty());
    }
}
