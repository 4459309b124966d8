//! The global allocator: talc over runs of page frames, which are taken as
//! needed.

use crate::mem::frames;
use crate::page::PAGE_SIZE;
use core::alloc::Layout;
use core::ptr::NonNull;
use talc::TalcLock;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

/// The type of the global allocator that [`guest!`](crate::guest) defines.
pub type Heap = TalcLock<spin::Mutex<()>, FrameSource>;

/// Least growth of the heap, in frames.
const GROWTH_FRAMES: usize = 16;

/// Bytes that talc's own records may need beyond the requested size.
const RECORDS: usize = PAGE_SIZE;

/// Size in bytes from which an allocation counts as large. Callers that make
/// large ones (a socket's buffers) can handle a failure, so the last frames are
/// left to small allocations, whose failure ends the guest.
const LARGE: usize = 4096;

/// Grows the heap by runs of frames.
#[derive(Debug)]
pub struct FrameSource {
    /// End of the latest run, to extend it if the next run adjoins it.
    end: Option<NonNull<u8>>,
}

// SAFETY: the address is in the heap of this guest, which has one vCPU.
unsafe impl Send for FrameSource {}

/// Makes an empty heap.
#[must_use]
pub const fn new() -> Heap {
    TalcLock::new(FrameSource { end: None })
}

// SAFETY: `acquire` allocates nothing; it takes frames from a bitmap.
unsafe impl Source for FrameSource {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let bytes = layout.size() + layout.align() + RECORDS;
        let count = bytes.div_ceil(PAGE_SIZE);
        let keep = if layout.size() >= LARGE {
            frames::KEEP_FOR_SMALL
        } else {
            0
        };
        let (count, pfn) = match frames::take_run(count.max(GROWTH_FRAMES), keep) {
            Some(pfn) => (count.max(GROWTH_FRAMES), pfn),
            None => (count, frames::take_run(count, keep).ok_or(())?),
        };
        let base = (pfn * PAGE_SIZE) as *mut u8;
        let bytes = count * PAGE_SIZE;
        // SAFETY: the run is mapped and belongs to the heap alone from now on;
        // if it starts at the end of the latest heap, that heap is extended.
        talc.source.end = unsafe {
            match talc.source.end {
                Some(end) if end.as_ptr() == base => Some(talc.extend(end, base.add(bytes))),
                _ => talc.claim(base, bytes),
            }
        };
        talc.source.end.map(drop).ok_or(())
    }
}
