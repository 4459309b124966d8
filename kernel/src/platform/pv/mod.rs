//! Everything that only a PV guest needs: its page tables, the machine frames
//! behind its memory, how it starts and how it suspends.
//!
//! In reading order: `hypercall`, `p2m`, `start_info`, `page_table`, `backing`,
//! `foreign`, `frame_lists`, `suspend`, `trap`. This file initialises all of them.

mod backing;
mod foreign;
mod frame_lists;
mod hypercall;
mod p2m;
mod page_table;
mod start_info;
mod suspend;
mod trap;

pub(super) use backing::{back, unback};
pub(super) use foreign::{map_grant_frames, unmap_grant_frames};
pub(super) use p2m::machine_frame;
pub(super) use page_table::{ensure_leaf_table, has_leaf_table, map_frames, unmap_frames};
pub(super) use suspend::{settle_in, suspend};

use super::{Handover, Ports, frames_for_boot, image, start_pool, table, vector};
use crate::mem::frames;
use crate::page::{PAGE_SIZE, Pfn};
use core::ops::Range;
use start_info::StartInfo;

/// Remembers start_info and says what is in it.
///
/// # Safety
/// Runs once, before anything else, on Xen's initial page tables; `start_info` is what
/// Xen's domain builder passed in RSI.
pub(super) unsafe fn enter(start_info: usize) -> Handover {
    // SAFETY: the caller's promise.
    let info = unsafe { StartInfo::new(start_info) };
    start_info::remember(info);
    Handover {
        console: info.console_frame() * PAGE_SIZE,
        store: info.store_frame() * PAGE_SIZE,
        ports: info.ports(),
        command_line: info.command_line(),
    }
}

/// Initialises the guest: sets the trap table, starts the frame pool, maps shared info, gives
/// the memory that Xen has not mapped back to it, and publishes the p2m lists.
///
/// # Safety
/// Runs once, after [`enter`].
pub(super) unsafe fn init() {
    trap::init();
    vector::init();
    let info = &start_info::start_info();
    let total = info.pages();
    p2m::init(info.p2m_list(), total);
    let mut used = in_use(info);
    let room = frames::bookkeeping(total) + frames_for_boot(total);
    let mapped = map_more(page_table::initially_mapped(info), &mut used, room, total);
    start_pool(total, mapped, &used, backing::least_resident(total));
    page_table::unmap(0);
    page_table::unmap(image::stack_guard());
    foreign::init(info);
    page_table::ensure_upper_tables(total);
    unback(mapped..total);
    frame_lists::publish(info);
}

/// Maps more frames behind the `mapped` ones, until `room` of them are free behind the last used
/// one: Xen leaves half a MiB free there (`tools/libs/guest/xg_dom_x86.c:alloc_pgtables_pv`), which
/// is too little for the records of more than 8 GiB. The tables for that are made of the first free
/// frames, which count as `used` afterwards. Returns how many frames are mapped then.
fn map_more(mut mapped: Pfn, used: &mut [Range<Pfn>; 8], room: usize, total: usize) -> Pfn {
    let first = used.iter().map(|range| range.end).max().unwrap_or(0);
    let mut tables = first..first;
    while mapped < total && mapped < tables.end + room {
        let end = (mapped / table::ENTRIES + 1) * table::ENTRIES;
        let table = (!page_table::has_leaf_table(mapped)).then_some(tables.end);
        tables.end += usize::from(table.is_some());
        page_table::map_frames(mapped..end.min(total), table);
        mapped = end.min(total);
    }
    used[7] = tables;
    mapped
}

/// Returns the event channels of the domain builder's rings in the current domain.
pub(super) fn ports() -> Ports {
    start_info::start_info().ports()
}

/// Returns the frame ranges that Xen's domain builder filled, without what only a PVH
/// guest uses of the image, and an empty one.
fn in_use(info: &StartInfo) -> [Range<Pfn>; 8] {
    let page = |pfn: Pfn| pfn..pfn + 1;
    let (image, spare) = (image::image(), image::only_pvh());
    [
        image.start..spare.start,
        spare.end..image.end,
        info.p2m_frames(),
        page(info.own_frame()),
        page(info.store_frame()),
        page(info.console_frame()),
        info.page_table_frames(),
        0..0,
    ]
}
