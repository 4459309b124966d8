//! Memory that a peer can change at any moment.
//!
//! Nobody holds a reference into it: words are fetched once, bytes are copied.
//! What was fetched is an allegation until it has been checked.

use core::ops::Deref;

/// A range of shared memory, whoever owns its pages.
///
/// Offsets and lengths are ours: one out of bounds, or a word that is not
/// aligned to 8 bytes, is a bug of the caller and may panic.
pub trait Memory {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there is nothing in it; there always is.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes out, from byte `offset` on.
    fn read(&self, offset: usize, into: &mut [u8]);

    /// Copies bytes in, from byte `offset` on.
    fn write(&self, offset: usize, from: &[u8]);

    /// Fetches the word at `offset`; what comes after stays after (acquire).
    fn load(&self, offset: usize) -> u64;

    /// Stores the word at `offset`; what came before stays before (release).
    fn store(&self, offset: usize, value: u64);

    /// Sets bits of the word at `offset` and returns what it was; a full fence.
    fn fetch_or(&self, offset: usize, bits: u64) -> u64;

    /// Replaces the word at `offset` and returns what it was; a full fence.
    fn swap(&self, offset: usize, value: u64) -> u64;

    /// A full fence (sequentially consistent).
    fn fence(&self);
}

/// Whatever holds such memory is such memory.
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
