//! The lists by which the toolstack finds the p2m list when it saves the domain
//! (`xen/include/public/arch-x86/xen.h`, `arch_shared_info`).

use super::p2m::machine_frame;
use super::start_info::StartInfo;
use crate::mem::frames::{self, Frame};
use crate::page::{Mfn, PAGE_SIZE};
use crate::shared_info::shared_info;
use alloc::vec::Vec;
use spin::Once;

/// Entries of a frame list in one page.
const PER_PAGE: usize = PAGE_SIZE / size_of::<Mfn>();

/// The pages that name the frames of the p2m list to the toolstack: the top
/// page, and the pages that it names.
struct Published {
    top: Frame,
    lists: Vec<Frame>,
}

// SAFETY: plain memory of the guest, which has one vCPU.
unsafe impl Send for Published {}
// SAFETY: as above.
unsafe impl Sync for Published {}

static PUBLISHED: Once<Published> = Once::new();

/// Takes the pages for [`publish`].
fn pages_for(frames: usize) -> Published {
    let lists = frames.div_ceil(PER_PAGE);
    assert!(lists <= PER_PAGE, "more memory than the p2m lists can name");
    let take = || frames::take_zeroed().expect("memory at boot");
    Published {
        top: take(),
        lists: (0..lists).map(|_| take()).collect(),
    }
}

/// Publishes the frames of the p2m list in the shared info page. Without this a
/// save fails with "Bad mfn 0 for p2m frame list list".
///
/// This has to be repeated in every new domain: the toolstack rewrites the list
/// itself, but neither the pages that name its frames nor the pointer to them,
/// so a guest that omits it dies in its second migration.
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
    shared_info().publish_p2m(top, info.pages() as u64);
}
