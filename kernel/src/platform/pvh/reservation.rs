//! The domain's memory reservation: gives memory back to Xen and gets it again.
//!
//! A frame without memory is a hole in what Xen translates guest frames by, which the
//! toolstack's save skips, and has no entry in the guest's page tables.

use super::page_table;
use crate::mem::BATCH;
use crate::mem::elastic::Reservation;
use crate::page::Pfn;
use crate::platform::memory::{
    current_reservation, decrease_reservation, maximum_reservation, populate_physmap,
};
use core::ops::Range;

/// This domain's reservation.
pub(super) struct OwnReservation;

impl Reservation for OwnReservation {
    fn needs_table(&self, at: Pfn) -> bool {
        !page_table::has_leaf_table(at)
    }

    fn populate(&self, frames: Range<Pfn>, table: Option<Pfn>) -> usize {
        let count = back(frames.clone());
        if count > 0 {
            page_table::map_frames(frames.start..frames.start + count, table);
        }
        count
    }

    fn release(&self, frames: Range<Pfn>) -> usize {
        page_table::unmap_frames(frames.clone());
        let count = unback(frames.clone());
        if count < frames.len() {
            // Xen refuses a frame only if this domain does not own it.
            page_table::map_frames(frames.start + count..frames.end, None);
        }
        count
    }

    fn allowance(&self) -> usize {
        maximum_reservation().saturating_sub(current_reservation())
    }
}

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
fn back(frames: Range<Pfn>) -> usize {
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
pub(super) fn unback(frames: Range<Pfn>) -> usize {
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
