//! The domain's memory reservation: gives memory back to Xen and gets it again
//! (`xen/common/memory.c`).
//!
//! The order is fixed: a frame is unmapped before it is given back, because Xen
//! frees no page that a PV guest maps, and populated before it is mapped.

use super::hypercall::{current_reservation, maximum_reservation};
use super::{Kind, kind, pv, pvh};
use crate::mem::elastic::Reservation;
use crate::page::Pfn;
use core::ops::Range;

/// This domain's reservation.
pub(super) struct OwnReservation;

impl Reservation for OwnReservation {
    fn needs_table(&self, at: Pfn) -> bool {
        !match kind() {
            Kind::Pv => pv::has_leaf_table(at),
            Kind::Pvh => pvh::has_leaf_table(at),
        }
    }

    fn populate(&self, frames: Range<Pfn>, table: Option<Pfn>) -> usize {
        let count = match kind() {
            Kind::Pv => pv::back(frames.clone()),
            Kind::Pvh => pvh::back(frames.clone()),
        };
        if count > 0 {
            map_frames(frames.start..frames.start + count, table);
        }
        count
    }

    fn release(&self, frames: Range<Pfn>) -> usize {
        match kind() {
            Kind::Pv => pv::unmap_frames(frames.clone()),
            Kind::Pvh => pvh::unmap_frames(frames.clone()),
        }
        let count = unback(frames.clone());
        if count < frames.len() {
            // Xen refuses a frame only if this domain does not own it.
            map_frames(frames.start + count..frames.end, None);
        }
        count
    }

    fn allowance(&self) -> usize {
        maximum_reservation().saturating_sub(current_reservation())
    }
}

/// Maps frames that lie within one L1 table, which frame `table` becomes if it is
/// missing.
fn map_frames(frames: Range<Pfn>, table: Option<Pfn>) {
    match kind() {
        Kind::Pv => pv::map_frames(frames, table),
        Kind::Pvh => pvh::map_frames(frames, table),
    }
}

/// Gives the memory of `frames`, which are mapped nowhere, back to Xen. Returns how
/// many frames lost it, counted from the start.
pub(super) fn unback(frames: Range<Pfn>) -> usize {
    match kind() {
        Kind::Pv => pv::unback(frames),
        Kind::Pvh => pvh::unback(frames),
    }
}
