//! Access to a range of shared memory.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// A range of shared memory, regardless of which domain owns its pages.
///
/// Offsets and lengths are chosen by this guest, never by the peer; one out of
/// bounds is a bug in the caller and panics.
#[derive(Debug)]
pub struct SharedMemory {
    base: NonNull<u8>,
    len: usize,
}

macro_rules! scalar {
    ($load:ident, $store:ident, $int:ty, $atomic:ty) => {
        /// Fetches the value at byte `offset`, once.
        #[must_use]
        pub fn $load(&self, offset: usize, order: Ordering) -> $int {
            self.check_aligned(offset, size_of::<$int>());
            // SAFETY: in bounds and aligned, see above; the memory stays mapped
            // while `self` exists and is accessed atomically.
            unsafe { <$atomic>::from_ptr(self.base.add(offset).cast().as_ptr()) }.load(order)
        }

        /// Stores `value` at byte `offset`.
        pub fn $store(&self, offset: usize, value: $int, order: Ordering) {
            self.check_aligned(offset, size_of::<$int>());
            // SAFETY: as for the load.
            unsafe { <$atomic>::from_ptr(self.base.add(offset).cast().as_ptr()) }
                .store(value, order);
        }
    };
}

/// Marks the end of a copy for the compiler, which must not fetch copied bytes
/// from the shared memory again. Otherwise it may merge two copies in a row
/// (from the shared memory to a buffer, where the bytes are checked, and on
/// from there) into one.
#[inline(always)]
fn copied() {
    // SAFETY: no instruction at all. Without `nomem` it counts as one that may
    // change any memory, including the shared memory.
    unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
}

impl SharedMemory {
    /// # Safety
    /// The range must be mapped, writable unless it is only read, and in no
    /// other use by this guest, for as long as the value exists.
    pub(crate) const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Returns the length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    fn check(&self, offset: usize, len: usize) {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "bytes {offset}+{len} of {} shared",
            self.len
        );
    }

    fn check_aligned(&self, offset: usize, size: usize) {
        self.check(offset, size);
        assert!(
            offset.is_multiple_of(size),
            "offset {offset} is not aligned"
        );
    }

    scalar!(load_u8, store_u8, u8, AtomicU8);
    scalar!(load_u16, store_u16, u16, AtomicU16);
    scalar!(load_u32, store_u32, u32, AtomicU32);
    scalar!(load_u64, store_u64, u64, AtomicU64);

    /// Copies bytes out, starting at byte `offset`.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        // SAFETY: in bounds; `into` is private memory and cannot overlap. The
        // other side may write meanwhile, but any mixture of bytes is a valid
        // `[u8]`, and the copy is not read again from the source.
        unsafe {
            core::ptr::copy_nonoverlapping(
                self.base.add(offset).as_ptr(),
                into.as_mut_ptr(),
                into.len(),
            );
        }
        copied();
    }

    /// Copies bytes in, starting at byte `offset`.
    pub fn write(&self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        // SAFETY: as for `read`, in the other direction.
        unsafe {
            core::ptr::copy_nonoverlapping(
                from.as_ptr(),
                self.base.add(offset).as_ptr(),
                from.len(),
            );
        }
        copied();
    }

    /// Sets bits of the 64-bit value at `offset` and returns its old value; a
    /// full fence.
    pub fn fetch_or_u64(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).fetch_or(bits, Ordering::SeqCst)
    }

    /// Replaces the 64-bit value at `offset` and returns its old value; a full
    /// fence.
    pub fn swap_u64(&self, offset: usize, value: u64) -> u64 {
        self.word(offset).swap(value, Ordering::SeqCst)
    }

    /// Orders all accesses before it before all accesses after it, as seen by
    /// the other side.
    pub fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        self.check_aligned(offset, size_of::<u64>());
        // SAFETY: in bounds and aligned; accessed atomically, and the reference
        // neither outlives `self` nor leaves this file.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    /// Compares and exchanges the 16-bit value at `offset`, as the grant
    /// table's flags require.
    pub(crate) fn compare_exchange_u16(
        &self,
        offset: usize,
        old: u16,
        new: u16,
    ) -> Result<u16, u16> {
        self.check_aligned(offset, 2);
        // SAFETY: in bounds and aligned; accessed atomically.
        unsafe { AtomicU16::from_ptr(self.base.add(offset).cast().as_ptr()) }.compare_exchange(
            old,
            new,
            Ordering::SeqCst,
            Ordering::SeqCst,
        )
    }
}

/// The access that the channel between co-resident guests (`vmc`) needs.
impl shared_memory::Memory for SharedMemory {
    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn read(&self, offset: usize, into: &mut [u8]) {
        Self::read(self, offset, into);
    }

    #[inline]
    fn write(&self, offset: usize, from: &[u8]) {
        Self::write(self, offset, from);
    }

    #[inline]
    fn load(&self, offset: usize) -> u64 {
        self.load_u64(offset, Ordering::Acquire)
    }

    #[inline]
    fn store(&self, offset: usize, value: u64) {
        self.store_u64(offset, value, Ordering::Release);
    }

    #[inline]
    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.fetch_or_u64(offset, bits)
    }

    #[inline]
    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.swap_u64(offset, value)
    }

    #[inline]
    fn fence(&self) {
        Self::fence(self);
    }
}
