//! Everything that only a PVH guest needs: it has the processor's own page tables
//! and descriptors, and gets from Xen by hypercalls what a PV guest finds in
//! start_info.
//!
//! In reading order: `hypercall`, `start_info`, `page_table`, `descriptors`,
//! `backing`, `foreign`, `suspend`. This file initialises all of them.
//!
//! Interrupts stay disabled for ever, and the guest has none: it looks at the
//! pending bits in shared info and blocks in `SCHEDOP_poll`, as a PV guest does.

mod backing;
mod descriptors;
mod foreign;
mod hypercall;
mod page_table;
mod start_info;
mod suspend;

pub(super) use backing::{back, unback};
pub(super) use foreign::{hide, host_address, map_grant_frames, show};
pub(super) use page_table::{ensure_leaf_table, has_leaf_table, map_frames, unmap_frames};
pub(super) use suspend::{settle_in, suspend};

use super::window::{CONSOLE_SLOT, STORE_SLOT, address};
use super::{Handover, Ports, frame_at, frames_for_boot, image, start_pool, vector};
use crate::mem::{BATCH, frames};
use core::arch::asm;
use hypercall::parameter;
use spin::Once;
use start_info::StartInfo;
use xen_sys::hvm;

static START_INFO: Once<StartInfo> = Once::new();

/// Makes hypercalls usable and maps the two rings; says where they are.
///
/// # Safety
/// Runs once, before anything else, on the page tables of `boot`; `start_info` is the
/// address that Xen's domain builder passed in EBX.
pub(super) unsafe fn enter(start_info: usize) -> Handover {
    // SAFETY: the caller's promise.
    unsafe {
        descriptors::init();
        hypercall::init();
        page_table::init();
    }
    // SAFETY: the caller's promise.
    let info = *START_INFO.call_once(|| unsafe { StartInfo::new(start_info) });
    page_table::map_page(
        address(CONSOLE_SLOT),
        parameter(hvm::HVM_PARAM_CONSOLE_PFN),
        page_table::DATA,
    );
    page_table::map_page(
        address(STORE_SLOT),
        parameter(hvm::HVM_PARAM_STORE_PFN),
        page_table::DATA,
    );
    Handover {
        console: address(CONSOLE_SLOT),
        store: address(STORE_SLOT),
        ports: ports(),
        command_line: info.command_line(),
    }
}

/// Initialises the guest: enables AVX, maps shared info, makes page tables that map
/// the image and what follows it page by page, starts the frame pool, and gives the
/// rest of the memory back to Xen.
///
/// # Safety
/// Runs once, after [`enter`].
pub(super) unsafe fn init() {
    vector::init();
    foreign::attach();
    let info = START_INFO.get().expect("`enter` has run");
    let total = info.pages();
    foreign::check(total);
    let builder = info.frames();
    let mut used = [image::image(), builder.clone(), 0..0];
    let first = used[0].end.max(builder.end);
    let room = frames::bookkeeping(total) + frames_for_boot(total);
    // Tables for the pages up to the end of the room, which include the tables
    // themselves.
    let tables = page_table::tables_for(first + room);
    let mapped = (first + tables + room).next_multiple_of(BATCH).min(total);
    let tables = first..first + page_table::tables_for(mapped);
    used[2] = tables.clone();
    page_table::map_from_start(mapped, tables);
    start_pool(total, mapped, &used, 0);
    page_table::ensure_upper_tables(total);
    unback(mapped..total);
}

/// Returns the event channels of the domain builder's rings in the current domain.
pub(super) fn ports() -> Ports {
    Ports {
        console: parameter(hvm::HVM_PARAM_CONSOLE_EVTCHN) as u32,
        store: parameter(hvm::HVM_PARAM_STORE_EVTCHN) as u32,
    }
}

/// Returns the address of the last page fault.
pub(super) fn fault_address() -> u64 {
    let address: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Returns the first frame of a page-aligned static.
fn frame_of<T>(symbol: *const T) -> crate::page::Pfn {
    frame_at(symbol as usize)
}
