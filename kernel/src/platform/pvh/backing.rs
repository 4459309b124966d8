//! The memory behind a PVH guest's frames.
//!
//! A frame without memory is a hole in what Xen translates guest frames by, which the
//! toolstack's save skips, and has no entry in the guest's page tables.

use crate::mem::BATCH;
use crate::page::Pfn;
use crate::platform::hypercall::{decrease_reservation, populate_physmap};
use core::ops::Range;

/// Lists the numbers of at most a batch of frames.
fn list(frames: &Range<Pfn>) -> [u64; BATCH] {
    let mut list = [0; BATCH];
    for (entry, pfn) in list.iter_mut().zip(frames.clone()) {
        *entry = pfn as u64;
    }
    list
}

/// Gets memory for `frames`, at most a batch, all of them absent. Returns how
/// many got memory, counted from the start.
pub(in crate::platform) fn back(frames: Range<Pfn>) -> usize {
    let mut extents = list(&frames);
    // One extent of adjacent memory is a fraction of the work.
    if frames.len() == BATCH && frames.start.is_multiple_of(BATCH) {
        // SAFETY: the frames are absent, see above.
        if unsafe { populate_physmap(&mut extents[..1], BATCH.ilog2()) } == 1 {
            return BATCH;
        }
    }
    // SAFETY: as above.
    unsafe { populate_physmap(&mut extents[..frames.len()], 0) }
}

/// Gives the memory of `frames`, which are mapped nowhere, back to Xen. Returns
/// how many frames lost it, counted from the start.
pub(in crate::platform) fn unback(frames: Range<Pfn>) -> usize {
    let mut start = frames.start;
    while start < frames.end {
        let batch = start..frames.end.min(start + BATCH);
        let extents = list(&batch);
        // SAFETY: the frames are mapped nowhere, so nothing uses them.
        let count = unsafe { decrease_reservation(&raw const extents[..batch.len()]) };
        start += count;
        if count < batch.len() {
            break;
        }
    }
    start - frames.start
}
