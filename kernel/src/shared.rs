//! Memory that another domain can change at any moment.
//!
//! Nobody ever holds a reference into it: values are fetched once, bytes are
//! copied in and out. What was fetched is an allegation until it is checked.

use crate::PAGE_SIZE;
use crate::mem::frames::{self, Frame, OutOfMemory};
use crate::pv::Pfn;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(feature = "host")]
mod host;

#[cfg(feature = "host")]
pub use host::SharedFile;

/// A range of shared memory, whoever owns its pages.
///
/// Offsets and lengths are this guest's own; one out of bounds is a bug of
/// the caller and panics.
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
            // SAFETY: in bounds and aligned, see above; the memory stays
            // mapped while `self` exists and is accessed atomically.
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

/// The end of a copy, for the compiler: what it has copied it must not fetch
/// from the shared memory again, as it may where it takes two copies in a row
/// for one (from the shared memory to a buffer, checked, and from there on).
#[inline(always)]
fn copied() {
    // SAFETY: no instruction at all. Without `nomem` it counts as one that
    // may change any memory, the shared one included.
    unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
}

impl SharedMemory {
    /// # Safety
    /// The range must be mapped, writable unless it is only read, and in no
    /// other use by this guest, for as long as the value exists.
    pub(crate) const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Length in bytes.
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

    /// Copies bytes out, from byte `offset` on.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        // SAFETY: in bounds; `into` is private memory and cannot overlap. The
        // other side may write meanwhile: any mixture of bytes is a valid
        // value of `[u8]`, and the copy is not read again from the source.
        unsafe {
            core::ptr::copy_nonoverlapping(
                self.base.add(offset).as_ptr(),
                into.as_mut_ptr(),
                into.len(),
            );
        }
        copied();
    }

    /// Copies bytes in, from byte `offset` on.
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

    /// Sets bits of the 64-bit value at `offset` and returns what it was; a
    /// full fence.
    pub fn fetch_or_u64(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).fetch_or(bits, Ordering::SeqCst)
    }

    /// Replaces the 64-bit value at `offset` and returns what it was; a full
    /// fence.
    pub fn swap_u64(&self, offset: usize, value: u64) -> u64 {
        self.word(offset).swap(value, Ordering::SeqCst)
    }

    /// What was read and written before stays before what comes after, as the
    /// other side sees it.
    pub fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        self.check_aligned(offset, size_of::<u64>());
        // SAFETY: in bounds and aligned; accessed atomically, and the
        // reference does not outlive `self`, nor leave this file.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    /// Compare-and-swap of the 16-bit value at `offset`, as the grant table's
    /// flags want it.
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

/// What the channel of co-resident guests (`vmc`) does with such memory.
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

/// A page of this guest that it is going to share.
#[derive(Debug)]
pub struct SharedPage {
    memory: SharedMemory,
    frame: Frame,
}

impl SharedPage {
    /// A page of zeros, so that nothing of the guest leaks to its peer.
    ///
    /// # Errors
    /// [`OutOfMemory`] where no frame is free.
    pub fn new() -> Result<Self, OutOfMemory> {
        let frame = frames::take_zeroed()?;
        // SAFETY: the frame is mapped and this value's alone.
        let memory = unsafe { SharedMemory::new(frame.address(), PAGE_SIZE) };
        Ok(Self { memory, frame })
    }

    /// The page's frame number.
    #[must_use]
    pub fn pfn(&self) -> Pfn {
        self.frame.pfn()
    }
}

impl Deref for SharedPage {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn bytes_and_integers_share_one_memory() {
        let page = SharedPage::new().expect("memory");
        page.write(4, &[1, 2, 3, 4]);
        assert_eq!(page.load_u32(4, Ordering::Relaxed), 0x0403_0201);
        page.store_u16(4094, 0xabcd, Ordering::Relaxed);
        let mut tail = [0; 2];
        page.read(4094, &mut tail);
        assert_eq!(tail, [0xcd, 0xab]);
    }

    #[test]
    fn bits_are_set_and_words_exchanged() {
        let page = SharedPage::new().expect("memory");
        assert_eq!(page.fetch_or_u64(8, 0b101), 0);
        assert_eq!(page.fetch_or_u64(8, 0b010), 0b101);
        assert_eq!(page.swap_u64(8, 9), 0b111);
        assert_eq!(page.load_u64(8, Ordering::Relaxed), 9);
    }

    #[test]
    fn a_copy_touches_nothing_beside_it() {
        let bytes: Vec<u8> = (0..PAGE_SIZE).map(|index| (index % 251) as u8).collect();
        for (at, len) in [(0, PAGE_SIZE), (1, 256), (33, 1000), (31, 513), (4000, 95)] {
            let page = SharedPage::new().expect("memory");
            page.write(at, &bytes[..len]);
            let mut all = vec![0xee; PAGE_SIZE];
            page.read(0, &mut all);
            assert_eq!(all[at..at + len], bytes[..len]);
            assert!(
                all[..at]
                    .iter()
                    .chain(&all[at + len..])
                    .all(|&byte| byte == 0)
            );
            let mut part = vec![0xee; len + 2];
            page.read(at, &mut part[1..=len]);
            assert_eq!((part[0], part[len + 1]), (0xee, 0xee));
            assert_eq!(part[1..=len], bytes[..len]);
        }
    }

    #[test]
    #[should_panic(expected = "shared")]
    fn reading_past_the_end_is_a_bug() {
        SharedPage::new().expect("memory").read(4090, &mut [0; 7]);
    }

    #[test]
    #[should_panic(expected = "shared")]
    fn an_offset_that_would_wrap_is_a_bug() {
        SharedPage::new()
            .expect("memory")
            .write(usize::MAX, &[0; 2]);
    }
}
