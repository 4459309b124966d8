//! The memory behind a PV guest's frames.
//!
//! A frame without memory has [`p2m::ABSENT`] in the p2m list, which is how the
//! toolstack's save skips it (`tools/libs/guest/xg_sr_save.c:write_batch`), and
//! no entry in the page tables. Xen itself maintains the m2p table: it clears
//! an entry when a frame's last use ends and sets it in
//! `XENMEM_populate_physmap`.

use super::p2m;
use crate::mem::BATCH;
use crate::page::{Mfn, PAGE_SIZE, Pfn};
use crate::platform::hypercall::{decrease_reservation, populate_physmap};
use core::ops::Range;

/// Returns how many frames must stay resident in a domain of `total` frames, so
/// that it can be migrated.
///
/// While Xen logs dirty pages it keeps a bitmap in a tree of four levels, whose
/// lowest pages cover 32,768 frames each. The tree's memory is what the shadow
/// pool has above its minimum: one page per 256 pages of the domain
/// (`xen/arch/x86/mm/shadow/common.c:sh_min_allocation`). A domain with less
/// cannot be migrated: "failed page allocs while logging dirty pages", and `xl
/// migrate` ends with ENOMEM. The result leaves a margin of one page.
pub(super) fn least_resident(total: usize) -> usize {
    const COVERED: usize = 8 * PAGE_SIZE;
    const PER_SHADOW_PAGE: usize = 256;
    const UPPER_LEVELS: usize = 3;
    const MARGIN: usize = 1;
    let shadow_pages = UPPER_LEVELS + total.div_ceil(COVERED) + MARGIN;
    total.min(shadow_pages * PER_SHADOW_PAGE)
}

/// Gets memory for `frames`, at most a batch, all of them absent. Returns how
/// many got memory, counted from the start.
pub(in crate::platform) fn back(frames: Range<Pfn>) -> usize {
    let mut extents = [0; BATCH];
    // One extent of adjacent memory is a fraction of the work.
    if frames.len() == BATCH {
        extents[0] = frames.start as u64;
        // SAFETY: the frames are absent, see above.
        if unsafe { populate_physmap(&mut extents[..1], BATCH.ilog2()) } == 1 {
            let first: Mfn = extents[0];
            for (pfn, mfn) in frames.zip(first..) {
                p2m::set(pfn, mfn);
            }
            return BATCH;
        }
    }
    let extents = &mut extents[..frames.len()];
    for (extent, pfn) in extents.iter_mut().zip(frames.clone()) {
        *extent = pfn as u64;
    }
    // SAFETY: as above.
    let count = unsafe { populate_physmap(extents, 0) };
    for (pfn, &mfn) in frames.zip(&extents[..count]) {
        p2m::set(pfn, mfn);
    }
    count
}

/// Gives the memory of `frames`, which are mapped nowhere, back to Xen. Returns
/// how many frames lost it, counted from the start.
pub(in crate::platform) fn unback(frames: Range<Pfn>) -> usize {
    // SAFETY: the frames are mapped nowhere, so nothing uses them.
    let count = unsafe { decrease_reservation(p2m::entries(frames.clone())) };
    p2m::clear(frames.start..frames.start + count);
    count
}
