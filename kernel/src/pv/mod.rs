//! Everything that only a PV guest needs: its page tables, the machine frames
//! behind its memory, how it starts and how it suspends.
//!
//! Read in this order: `hypercall`, `p2m`, `start_info`, `page_table`,
//! `reservation`, `slot_map`, `window`, `frame_lists`, `suspend`, `trap`, `cpuid`,
//! `vector`. This file brings all of it up.

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

use crate::mem::frames;
use crate::page::Pfn;
use core::ops::Range;

/// Brings up the guest's memory: trap table, frame allocator, shared info,
/// what Xen has not mapped given back to it, p2m lists published.
///
/// # Safety
/// Runs once, first of all, on Xen's initial page tables described by `info`.
pub(crate) unsafe fn init(info: &StartInfo) {
    trap::init();
    vector::init();
    start_info::remember(*info);
    let total = info.pages();
    p2m::init(info.p2m_list(), total);
    let mapped = page_table::initially_mapped(info);
    // Frame 0 stays unused, so that a null pointer faults.
    frames::init(
        total,
        1..mapped,
        &in_use(info),
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

/// Event channel of the console ring, in the present domain.
pub(crate) fn console_port() -> u32 {
    start_info::start_info().console_port()
}

/// The frame ranges that Xen's domain builder filled.
fn in_use(info: &StartInfo) -> [Range<Pfn>; 6] {
    let page = |pfn: Pfn| pfn..pfn + 1;
    [
        start_info::image(),
        info.p2m_frames(),
        page(info.own_frame()),
        page(info.store_frame()),
        page(info.console_frame()),
        info.page_table_frames(),
    ]
}
