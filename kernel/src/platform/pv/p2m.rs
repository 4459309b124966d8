//! The table from pseudo-physical to machine frame numbers (p2m), and Xen's
//! table for the opposite direction (m2p).

use crate::page::{Mfn, Pfn};
use core::ops::Range;
use spin::Once;

/// The address at which Xen maps the machine-to-physical table in every PV
/// guest (`MACH2PHYS_VIRT_START`).
const MACHINE_TO_PHYSICAL: *const u64 = 0xffff_8000_0000_0000 as *const u64;

/// The entry of a frame without memory (`INVALID_P2M_ENTRY`).
pub(super) const ABSENT: Mfn = Mfn::MAX;

/// The p2m list, where the domain builder put it.
struct List {
    base: *mut Mfn,
    pages: usize,
}

// SAFETY: the list is plain memory of the guest, which has one vCPU.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

static LIST: Once<List> = Once::new();

/// Remembers where the domain builder put the list, and its length in entries.
pub(super) fn init(base: *mut Mfn, pages: usize) {
    LIST.call_once(|| List { base, pages });
}

fn list() -> &'static List {
    LIST.get().expect("`pv::init` has said where the list is")
}

/// Returns the machine frame behind `pfn`.
///
/// # Panics
/// If `pfn` is not a frame of this domain, or has no memory, which is a bug in
/// the caller.
pub(crate) fn machine_frame(pfn: Pfn) -> Mfn {
    let list = list();
    assert!(pfn < list.pages, "frame {pfn:#x} is not ours");
    // SAFETY: within the list, see the assertion.
    let mfn = unsafe { list.base.add(pfn).read_volatile() };
    assert!(mfn != ABSENT, "frame {pfn:#x} has no memory");
    mfn
}

/// Returns the list's entries for `frames`.
pub(super) fn entries(frames: Range<Pfn>) -> *const [Mfn] {
    let list = list();
    assert!(frames.start <= frames.end && frames.end <= list.pages);
    // SAFETY: within the list, see the assertion.
    let first = unsafe { list.base.add(frames.start) };
    core::ptr::slice_from_raw_parts(first, frames.len())
}

/// Records the machine frame that is behind `pfn` now.
pub(super) fn set(pfn: Pfn, mfn: Mfn) {
    let list = list();
    assert!(pfn < list.pages, "frame {pfn:#x} is not ours");
    // SAFETY: within the list, see the assertion.
    unsafe { list.base.add(pfn).write_volatile(mfn) };
}

/// Records that `frames` have no memory any more.
pub(super) fn clear(frames: Range<Pfn>) {
    let entries = entries(frames).cast_mut();
    // SAFETY: entries of the list, which nothing else writes. All ones is 0xff
    // in each byte.
    unsafe { entries.cast::<Mfn>().write_bytes(0xff, entries.len()) };
}

/// Returns the pseudo-physical number of machine frame `mfn`.
pub(super) fn pseudo_physical_frame(mfn: Mfn) -> Pfn {
    // SAFETY: Xen maps this table readable for every PV guest, with an entry
    // for each machine frame; `mfn` came from Xen.
    unsafe { MACHINE_TO_PHYSICAL.add(mfn as usize).read_volatile() as Pfn }
}
