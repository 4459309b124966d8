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

/// Returns the event channel of the console ring in the current domain.
pub(crate) fn console_port() -> u32 {
    start_info::start_info().console_port()
}

/// Returns the frame ranges that Xen's domain builder filled.
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
