//! The table from the guest's frame numbers to the machine's, and the lists
//! by which the toolstack finds it when it saves the domain
//! (`xen/include/public/arch-x86/xen.h`, `arch_shared_info`).

use super::{Mfn, Pfn, StartInfo, window};
use crate::PAGE_SIZE;
use crate::mem::frames::{self, Frame};
use alloc::vec::Vec;
use core::ops::Range;
use spin::Once;

/// Entries of a frame list in one page.
const PER_PAGE: usize = PAGE_SIZE / size_of::<Mfn>();

/// Where Xen maps the machine-to-physical table in every PV guest
/// (`MACH2PHYS_VIRT_START`).
const MACHINE_TO_PHYSICAL: *const u64 = 0xffff_8000_0000_0000 as *const u64;

/// Entry of a frame that has no memory behind it (`INVALID_P2M_ENTRY`).
pub(super) const ABSENT: Mfn = Mfn::MAX;

/// The p2m list, in place since the domain was built.
struct List {
    base: *mut Mfn,
    pages: usize,
}

// SAFETY: the list is plain memory of the guest, which has one vCPU.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

static LIST: Once<List> = Once::new();

fn list(info: Option<&StartInfo>) -> &'static List {
    LIST.call_once(|| {
        let info = info.expect("the p2m list is first used with start_info at hand");
        List {
            base: info.p2m_list(),
            pages: info.pages(),
        }
    })
}

/// Remembers where the list is.
pub(super) fn init(info: &StartInfo) {
    list(Some(info));
}

/// Machine frame behind `pfn`.
///
/// # Panics
/// When `pfn` is not a frame of this domain, which is a bug of the caller.
pub(crate) fn machine_frame(pfn: Pfn) -> Mfn {
    let list = list(None);
    assert!(pfn < list.pages, "frame {pfn:#x} is not ours");
    // SAFETY: within the list, see the assertion.
    let mfn = unsafe { list.base.add(pfn).read_volatile() };
    assert!(mfn != ABSENT, "frame {pfn:#x} has no memory");
    mfn
}

/// The list's entries of `frames`.
pub(super) fn entries(frames: Range<Pfn>) -> *const [Mfn] {
    let list = list(None);
    assert!(frames.start <= frames.end && frames.end <= list.pages);
    // SAFETY: within the list, see the assertion.
    let first = unsafe { list.base.add(frames.start) };
    core::ptr::slice_from_raw_parts(first, frames.len())
}

/// Notes the machine frame that is now behind `pfn`.
pub(super) fn set(pfn: Pfn, mfn: Mfn) {
    let list = list(None);
    assert!(pfn < list.pages, "frame {pfn:#x} is not ours");
    // SAFETY: within the list, see the assertion.
    unsafe { list.base.add(pfn).write_volatile(mfn) };
}

/// Notes that nothing is behind `frames` any more.
pub(super) fn clear(frames: Range<Pfn>) {
    let entries = entries(frames).cast_mut();
    // SAFETY: entries of the list, which nobody else writes. All ones is
    // all ones in each byte.
    unsafe { entries.cast::<Mfn>().write_bytes(0xff, entries.len()) };
}

/// The guest's own number of machine frame `mfn`.
pub(super) fn pseudo_physical_frame(mfn: Mfn) -> Pfn {
    // SAFETY: Xen maps this table readable for every PV guest, with an entry
    // for each machine frame; `mfn` came from Xen.
    unsafe { MACHINE_TO_PHYSICAL.add(mfn as usize).read_volatile() as Pfn }
}

/// The pages that name the list's frames to the toolstack: the top, and the
/// lists that it names.
struct Published {
    top: Frame,
    lists: Vec<Frame>,
}

// SAFETY: plain memory of the guest, which has one vCPU.
unsafe impl Send for Published {}
// SAFETY: as above.
unsafe impl Sync for Published {}

static PUBLISHED: Once<Published> = Once::new();

/// Takes the pages for [`publish`], once.
fn pages_for(frames: usize) -> Published {
    let lists = frames.div_ceil(PER_PAGE);
    assert!(lists <= PER_PAGE, "more memory than the p2m lists can name");
    let take = || frames::take_zeroed().expect("memory at boot");
    Published {
        top: take(),
        lists: (0..lists).map(|_| take()).collect(),
    }
}

/// Publishes the list's frames in the shared info page. Without it a save
/// ends in "Bad mfn 0 for p2m frame list list".
///
/// In every new domain again: the toolstack rewrites the list itself, but
/// neither the pages that name its frames nor the pointer to them; a guest
/// that forgets it dies in its second migration.
pub(super) fn publish(info: &StartInfo) {
    let list_frames = info.p2m_frames();
    let pages = PUBLISHED.call_once(|| pages_for(list_frames.len()));
    for (page, from) in pages
        .lists
        .iter()
        .zip(list_frames.clone().step_by(PER_PAGE))
    {
        let to = list_frames.end.min(from + PER_PAGE);
        for (entry, pfn) in (from..to).enumerate() {
            page.write_entry(entry, machine_frame(pfn));
        }
    }
    for (number, page) in pages.lists.iter().enumerate() {
        pages.top.write_entry(number, machine_frame(page.pfn()));
    }
    let top = machine_frame(pages.top.pfn());
    window::shared_info().publish_p2m(top, info.pages() as u64);
}
