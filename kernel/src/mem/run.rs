//! Runs: adjacent page frames that are taken and given back together.

use super::frames::{self, OutOfMemory};
use crate::page::{PAGE_SIZE, Pfn};
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

/// Frames that a run leaves free: a caller that takes a run can handle a
/// failure, a small allocation of the heap cannot.
const KEEP_FOR_HEAP: usize = 32;

/// Adjacent pages owned by their holder alone; given back when dropped.
#[derive(Debug)]
pub(crate) struct Run {
    base: NonNull<u8>,
    count: usize,
}

/// Returns the layout of `count` pages.
fn layout(count: usize) -> Result<Layout, OutOfMemory> {
    let bytes = count.checked_mul(PAGE_SIZE).ok_or(OutOfMemory)?;
    Layout::from_size_align(bytes, PAGE_SIZE).map_err(|_| OutOfMemory)
}

impl Run {
    /// Takes `count` adjacent pages, at least one, and fills them with zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] if that many adjacent ones are not free.
    pub(crate) fn take_zeroed(count: usize) -> Result<Self, OutOfMemory> {
        let layout = layout(count)?;
        if count == 0 {
            return Err(OutOfMemory);
        }
        let base = match frames::with(|elastic| elastic.take_run(count, KEEP_FOR_HEAP)) {
            Some(pfn) => {
                let base = (pfn.ok_or(OutOfMemory)? * PAGE_SIZE) as *mut u8;
                // SAFETY: free frames are mapped at their own addresses and in
                // no other use.
                unsafe { base.write_bytes(0, layout.size()) };
                base
            }
            // SAFETY: the layout is not empty.
            None => unsafe { alloc_zeroed(layout) },
        };
        let base = NonNull::new(base).ok_or(OutOfMemory)?;
        Ok(Self { base, count })
    }

    /// Returns the number of pages in the run.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the address of the first page.
    pub(crate) fn address(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns the frames' numbers.
    pub(crate) fn frames(&self) -> Range<Pfn> {
        let first = self.base.as_ptr() as usize / PAGE_SIZE;
        first..first + self.count
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if frames::with(|elastic| elastic.pool.put(self.frames())).is_some() {
            return;
        }
        let layout = layout(self.count).expect("as when the run was taken");
        // SAFETY: without a pool the pages came from the allocator, with this
        // layout (`take_zeroed`).
        unsafe { dealloc(self.base.as_ptr(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_zero_and_adjacent() {
        let run = Run::take_zeroed(5).expect("memory");
        assert_eq!((run.len(), run.frames().len()), (5, 5));
        assert_eq!(run.address().as_ptr() as usize % PAGE_SIZE, 0);
        // SAFETY: the run is this test's, and 5 pages long.
        let bytes = unsafe { core::slice::from_raw_parts(run.address().as_ptr(), 5 * PAGE_SIZE) };
        assert!(bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn no_pages_and_too_many_are_errors() {
        assert!(Run::take_zeroed(0).is_err());
        assert!(Run::take_zeroed(usize::MAX / 2).is_err());
    }
}
