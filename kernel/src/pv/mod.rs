//! Everything that only a PV guest needs: its page tables, the machine frames
//! behind its memory, how it starts and how it suspends.
//!
//! In reading order: `hypercall`, `p2m`, `start_info`, `page_table`, `reservation`, `slot_map`,
//! `window`, `frame_lists`, `suspend`, `trap`, `cpuid`, `vector`. This file initialises all of
//! them.

mod cpuid;
mod frame_lists;
mod hypercall;
mod p2m;
mod page_table;
mod reservation;
mod slot_map;
pub(crate) mod start_info;
mod suspend;
mod trap;
mod vector;
pub(crate) mod window;

pub(crate) use cpuid::has_rdrand;
pub(crate) use p2m::machine_frame;
pub(crate) use start_info::StartInfo;
pub(crate) use suspend::{Ports, Returned, suspend};
pub(crate) use trap::look as look_for_nmi;

use crate::mem::frames;
use crate::page::Pfn;
use core::ops::Range;

/// Initialises the PV guest: sets the trap table, starts the frame pool, maps shared info, gives
/// the memory that Xen has not mapped back to it, and publishes the p2m lists.
///
/// # Safety
/// Runs once, before anything else, on Xen's initial page tables described by `info`.
pub(crate) unsafe fn init(info: &StartInfo) {
    trap::init();
    vector::init();
    start_info::remember(*info);
    let total = info.pages();
    p2m::init(info.p2m_list(), total);
    let mut used = in_use(info);
    let room = frames::bookkeeping(total) + frames_for_boot(total);
    let mapped = map_more(page_table::initially_mapped(info), &mut used, room, total);
    // Frame 0 stays unused, so that a null pointer faults.
    frames::init(
        total,
        1..mapped,
        &used,
        &reservation::OwnReservation,
        page_table::missing_leaf_tables(mapped..total),
        reservation::least_resident(total),
    );
    page_table::unmap(0);
    page_table::unmap(start_info::stack_guard());
    window::init(info);
    page_table::ensure_upper_tables(total);
    reservation::unback(mapped..total);
    frame_lists::publish(info);
}

/// Returns how many free frames a domain of `total` frames needs before it can get memory back from
/// Xen: for tables, for the lists that name the p2m list, for the first allocations.
fn frames_for_boot(total: usize) -> usize {
    const SMALL: usize = 96;
    const PER_TABLE: usize = 512 * 512;
    SMALL + 2 * total.div_ceil(PER_TABLE)
}

/// Maps more frames behind the `mapped` ones, until `room` of them are free behind the last used
/// one: Xen leaves half a MiB free there (`tools/libs/guest/xg_dom_x86.c:alloc_pgtables_pv`), which
/// is too little for the records of more than 8 GiB. The tables for that are made of the first free
/// frames, which count as `used` afterwards. Returns how many frames are mapped then.
fn map_more(mut mapped: Pfn, used: &mut [Range<Pfn>; 7], room: usize, total: usize) -> Pfn {
    let first = used.iter().map(|range| range.end).max().unwrap_or(0);
    let mut tables = first..first;
    while mapped < total && mapped < tables.end + room {
        let end = (mapped / page_table::ENTRIES + 1) * page_table::ENTRIES;
        let table = (!page_table::has_leaf_table(mapped)).then_some(tables.end);
        tables.end += usize::from(table.is_some());
        page_table::map_frames(mapped..end.min(total), table);
        mapped = end.min(total);
    }
    used[6] = tables;
    mapped
}

/// Returns the event channel of the console ring in the current domain.
pub(crate) fn console_port() -> u32 {
    start_info::start_info().console_port()
}

/// Returns the frame ranges that Xen's domain builder filled, and an empty one.
fn in_use(info: &StartInfo) -> [Range<Pfn>; 7] {
    let page = |pfn: Pfn| pfn..pfn + 1;
    [
        start_info::image(),
        info.p2m_frames(),
        page(info.own_frame()),
        page(info.store_frame()),
        page(info.console_frame()),
        info.page_table_frames(),
        0..0,
    ]
}
