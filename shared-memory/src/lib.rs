//! Access to memory that another domain can write at any moment.
//!
//! The kernel implements [`Memory`] for pages shared through grants, the
//! simulator for pages of its fake hypervisor; the channel (`vmc`) is generic
//! over it. There are no references into such memory: words are fetched once,
//! bytes are copied, and a fetched value is an allegation until it is checked.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
extern crate alloc;

#[cfg(any(test, feature = "testing"))]
mod words;

#[cfg(any(test, feature = "testing"))]
pub use words::Words;

use core::ops::Deref;

/// A range of shared memory, regardless of which domain owns its pages.
///
/// The caller chooses offsets and lengths, never the peer: an offset out of
/// bounds, or a word that is not aligned to 8 bytes, is the caller's bug and
/// may panic.
pub trait Memory {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether the range has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes out, starting at byte `offset`.
    fn read(&self, offset: usize, into: &mut [u8]);

    /// Copies bytes in, starting at byte `offset`.
    fn write(&self, offset: usize, from: &[u8]);

    /// Fetches the word at `offset` with acquire ordering.
    fn load(&self, offset: usize) -> u64;

    /// Stores the word at `offset` with release ordering.
    fn store(&self, offset: usize, value: u64);

    /// Sets bits of the word at `offset` and returns its old value; a full fence.
    fn fetch_or(&self, offset: usize, bits: u64) -> u64;

    /// Replaces the word at `offset` and returns its old value; a full fence.
    fn swap(&self, offset: usize, value: u64) -> u64;

    /// A full fence (sequentially consistent).
    fn fence(&self);
}

/// A smart pointer to shared memory is shared memory.
impl<T: Deref> Memory for T
where
    T::Target: Memory,
{
    #[inline]
    fn len(&self) -> usize {
        (**self).len()
    }

    #[inline]
    fn read(&self, offset: usize, into: &mut [u8]) {
        (**self).read(offset, into);
    }

    #[inline]
    fn write(&self, offset: usize, from: &[u8]) {
        (**self).write(offset, from);
    }

    #[inline]
    fn load(&self, offset: usize) -> u64 {
        (**self).load(offset)
    }

    #[inline]
    fn store(&self, offset: usize, value: u64) {
        (**self).store(offset, value);
    }

    #[inline]
    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        (**self).fetch_or(offset, bits)
    }

    #[inline]
    fn swap(&self, offset: usize, value: u64) -> u64 {
        (**self).swap(offset, value)
    }

    #[inline]
    fn fence(&self) {
        (**self).fence();
    }
}
