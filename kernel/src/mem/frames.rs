//! The pool of page frames.
//!
//! Single frames come from the top of memory, runs for the heap from the
//! bottom, so that neither cuts up the other.
//!
//! In a process on a development machine, where no domain builder filled the
//! pool, frames come from the process's own allocator, so that code above
//! the kernel can be tested there.

use crate::PAGE_SIZE;
use crate::pv::Pfn;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use spin::Mutex;

/// No frame, or no run of frames long enough, is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory: give the domain more, or lower the limits on its command line")
    }
}

impl core::error::Error for OutOfMemory {}

/// One bit a frame, set where it is free.
struct Pool {
    bitmap: &'static mut [u64],
    free: usize,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);

/// Figures of the pool, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Frames of the domain.
    pub total: usize,
    /// Frames that nobody uses.
    pub free: usize,
}

/// How full the pool is; zeros where there is none (outside a guest).
#[must_use]
pub fn usage() -> Usage {
    POOL.lock()
        .as_ref()
        .map_or(Usage { total: 0, free: 0 }, |pool| Usage {
            total: pool.bitmap.len() * 64,
            free: pool.free,
        })
}

impl Pool {
    fn is_free(&self, pfn: Pfn) -> bool {
        self.bitmap[pfn / 64] & (1 << (pfn % 64)) != 0
    }

    fn put(&mut self, range: Range<Pfn>) {
        for pfn in range {
            assert!(!self.is_free(pfn), "frame {pfn:#x} given back twice");
            self.bitmap[pfn / 64] |= 1 << (pfn % 64);
            self.free += 1;
        }
    }

    fn remove(&mut self, range: Range<Pfn>) {
        for pfn in range {
            self.bitmap[pfn / 64] &= !(1 << (pfn % 64));
            self.free -= 1;
        }
    }

    fn take_from_top(&mut self) -> Option<Pfn> {
        let word = self.bitmap.iter().rposition(|&word| word != 0)?;
        let pfn = word * 64 + 63 - self.bitmap[word].leading_zeros() as usize;
        self.remove(pfn..pfn + 1);
        Some(pfn)
    }

    fn take_run(&mut self, count: usize) -> Option<Pfn> {
        let mut start = 0;
        let mut pfn = 0;
        while pfn < self.bitmap.len() * 64 {
            if pfn % 64 == 0 && self.bitmap[pfn / 64] == 0 {
                pfn += 64;
                start = pfn;
                continue;
            }
            let free = self.is_free(pfn);
            pfn += 1;
            if !free {
                start = pfn;
            } else if pfn - start == count {
                self.remove(start..pfn);
                return Some(start);
            }
        }
        None
    }
}

/// Starts the pool of a domain of `total` frames with those of `mapped` that
/// are in none of `used`. Its bitmap lies behind the last used frame.
pub(crate) fn init(total: usize, mapped: Range<Pfn>, used: &[Range<Pfn>]) {
    let words = total.div_ceil(64);
    let bitmap_start = used
        .iter()
        .map(|range| range.end)
        .max()
        .unwrap_or(mapped.start);
    let bitmap = bitmap_start..bitmap_start + (words * 8).div_ceil(PAGE_SIZE);
    assert!(
        bitmap.end <= mapped.end,
        "too much memory for Xen's initial mapping"
    );
    // SAFETY: these frames are mapped and behind everything that the domain
    // builder placed; they are left out of the pool below.
    let words = unsafe {
        let base = (bitmap.start * PAGE_SIZE) as *mut u64;
        base.write_bytes(0, words);
        core::slice::from_raw_parts_mut(base, words)
    };
    let mut pool = Pool {
        bitmap: words,
        free: 0,
    };
    for pfn in mapped {
        if !bitmap.contains(&pfn) && !used.iter().any(|range| range.contains(&pfn)) {
            pool.put(pfn..pfn + 1);
        }
    }
    *POOL.lock() = Some(pool);
}

/// Adds frames that have just been mapped.
pub(crate) fn extend(frames: Range<Pfn>) {
    POOL.lock().as_mut().expect("the pool is up").put(frames);
}

/// Takes `count` adjacent frames for the heap, for good.
pub(crate) fn take_run(count: usize) -> Option<Pfn> {
    POOL.lock().as_mut()?.take_run(count)
}

const LAYOUT: Layout = match Layout::from_size_align(PAGE_SIZE, PAGE_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a valid layout"),
};

/// A page that is the holder's alone, given back when dropped.
#[derive(Debug)]
pub struct Frame(NonNull<u8>);

/// Takes a page and fills it with zeros.
///
/// # Errors
/// [`OutOfMemory`] where no frame is free.
pub fn take_zeroed() -> Result<Frame, OutOfMemory> {
    let pfn = match POOL.lock().as_mut() {
        Some(pool) => pool.take_from_top().ok_or(OutOfMemory)?,
        None => {
            // SAFETY: the layout is not empty.
            let page = unsafe { alloc_zeroed(LAYOUT) };
            return NonNull::new(page).map(Frame).ok_or(OutOfMemory);
        }
    };
    let page = NonNull::new((pfn * PAGE_SIZE) as *mut u8).ok_or(OutOfMemory)?;
    // SAFETY: a free frame is mapped at its own address and nobody else's.
    unsafe { page.write_bytes(0, PAGE_SIZE) };
    Ok(Frame(page))
}

impl Frame {
    /// The frame's number.
    #[must_use]
    pub fn pfn(&self) -> Pfn {
        self.0.as_ptr() as usize / PAGE_SIZE
    }

    /// Address of the page.
    pub(crate) fn address(&self) -> NonNull<u8> {
        self.0
    }

    /// Writes 64-bit word `index` of the page.
    pub(crate) fn write_entry(&self, index: usize, value: u64) {
        assert!(index < PAGE_SIZE / 8);
        // SAFETY: inside the page, which is this holder's alone.
        unsafe { self.0.cast::<u64>().add(index).write_volatile(value) };
    }

    /// Never gives the page back: it has become part of a structure that
    /// lives as long as the domain, or another domain still maps it.
    pub(crate) fn keep_for_ever(self) {
        core::mem::forget(self);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(pool) = POOL.lock().as_mut() {
            pool.put(self.pfn()..self.pfn() + 1);
            return;
        }
        // SAFETY: without a pool the page came from the allocator, with this
        // layout (`take_zeroed`).
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::vec;
    use proptest::prelude::*;

    fn pool(frames: usize) -> Pool {
        let bitmap = Box::leak(vec![0; frames.div_ceil(64)].into_boxed_slice());
        let mut pool = Pool { bitmap, free: 0 };
        pool.put(0..frames);
        pool
    }

    #[test]
    fn single_frames_come_from_the_top_and_runs_from_the_bottom() {
        let mut pool = pool(200);
        assert_eq!(pool.take_from_top(), Some(199));
        assert_eq!(pool.take_run(16), Some(0));
        assert_eq!(pool.take_run(130), Some(16));
        assert_eq!(pool.take_run(54), None);
        assert_eq!(pool.take_run(53), Some(146));
        assert_eq!(pool.take_from_top(), None);
        assert_eq!(pool.free, 0);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_frame_cannot_be_given_back_twice() {
        pool(64).put(3..4);
    }

    proptest! {
        /// No frame is handed out twice, and the count stays right.
        #[test]
        fn every_frame_has_one_holder(steps in prop::collection::vec((0u8..3, 1usize..40), 1..200)) {
            let mut pool = pool(320);
            let mut held: vec::Vec<Range<Pfn>> = vec::Vec::new();
            for (kind, size) in steps {
                let taken = match kind {
                    0 => pool.take_from_top().map(|pfn| pfn..pfn + 1),
                    1 => pool.take_run(size).map(|pfn| pfn..pfn + size),
                    _ => {
                        if !held.is_empty() {
                            pool.put(held.swap_remove(size % held.len()));
                        }
                        None
                    }
                };
                if let Some(taken) = taken {
                    prop_assert!(held.iter().all(|other| other.end <= taken.start || taken.end <= other.start));
                    held.push(taken);
                }
                let used: usize = held.iter().map(Range::len).sum();
                prop_assert_eq!(pool.free, 320 - used);
            }
        }
    }
}
