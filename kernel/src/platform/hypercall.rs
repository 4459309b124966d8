//! Hypercalls that both kinds of guest make: those about the domain's memory
//! (`xen/common/memory.c`), and the suspend.

use crate::bug;
use crate::hypercall::{Refused, address, call};
use xen_sys::abi;

/// `SCHEDOP_shutdown` with reason suspend. In a PV guest the third argument is the
/// machine frame of start_info, where the toolstack leaves what the domain must know
/// when it continues (`tools/libs/guest/xg_sr_save_x86_pv.c`); in a PVH guest it has
/// no meaning. Returns 0 in a new domain and 1 in the same one; for a PVH guest Xen
/// 4.14's toolstack returns 0 in both.
///
/// # Safety
/// In a PV guest nothing foreign is mapped, and start_info names its rings by
/// pseudo-physical frame numbers.
pub(super) unsafe fn suspend(start_info: u64) -> Result<u64, Refused> {
    let argument = abi::sched_shutdown {
        reason: abi::SHUTDOWN_suspend,
    };
    // SAFETY: the structure of this command, and the caller's promise.
    unsafe {
        call::<{ abi::__HYPERVISOR_sched_op }>([
            u64::from(abi::SCHEDOP_shutdown),
            address(&raw const argument),
            start_info,
            0,
            0,
        ])
    }
}

/// `HYPERVISOR_memory_op` over a list of extents of 2^`order` pages; returns
/// how many of them Xen has processed, counted from the start.
///
/// # Safety
/// `extents` is what `command` reads and writes.
unsafe fn reservation(command: u32, extents: *const [u64], order: u32) -> usize {
    let argument = abi::xen_memory_reservation {
        extent_start: abi::__guest_handle_xen_pfn_t {
            p: extents.cast::<u64>().cast_mut(),
        },
        nr_extents: extents.len() as u64,
        extent_order: order,
        mem_flags: 0,
        domid: abi::DOMID_SELF as u16,
    };
    // SAFETY: the structure of the command, and the caller's promise.
    let done = unsafe {
        call::<{ abi::__HYPERVISOR_memory_op }>([
            u64::from(command),
            address(&raw const argument),
            0,
            0,
            0,
        ])
    };
    // If memory is short, Xen processes fewer extents; it refuses the operation
    // as a whole only if it is malformed (`xen/common/memory.c:do_memory_op`).
    let done = done.unwrap_or_else(|_| {
        bug::report("Xen refused a memory reservation as malformed");
        0
    });
    (done as usize).min(extents.len())
}

/// `XENMEM_populate_physmap`: gets memory for 2^`order` frames starting at each
/// frame number in `extents`, and, in a PV guest, replaces each number by the
/// machine frame's. Returns how many extents Xen has processed.
///
/// # Safety
/// None of these frames has memory.
pub(super) unsafe fn populate_physmap(extents: &mut [u64], order: u32) -> usize {
    // SAFETY: Xen reads and writes the list; the rest is the caller's promise.
    unsafe { reservation(abi::XENMEM_populate_physmap, extents, order) }
}

/// `XENMEM_decrease_reservation`: gives frames, named as Xen names them, back and
/// returns how many.
///
/// # Safety
/// The list is valid, and the frames are not in use.
pub(super) unsafe fn decrease_reservation(frames: *const [u64]) -> usize {
    // SAFETY: Xen only reads this list; the rest is the caller's promise.
    unsafe { reservation(abi::XENMEM_decrease_reservation, frames, 0) }
}

/// `XENMEM_current_reservation`: returns how many frames this domain has.
pub(super) fn current_reservation() -> usize {
    reservation_of_self(abi::XENMEM_current_reservation)
}

/// `XENMEM_maximum_reservation`: returns how many frames Xen lets this domain
/// have, which the toolstack can change at any time.
pub(super) fn maximum_reservation() -> usize {
    reservation_of_self(abi::XENMEM_maximum_reservation)
}

/// Asks for a figure of this domain's reservation.
fn reservation_of_self(command: u32) -> usize {
    let domid = abi::DOMID_SELF as u16;
    // SAFETY: Xen reads a domid through the pointer
    // (`xen/common/memory.c:do_memory_op`).
    let answer = unsafe {
        call::<{ abi::__HYPERVISOR_memory_op }>([
            u64::from(command),
            address(&raw const domid),
            0,
            0,
            0,
        ])
    };
    answer.map_or_else(
        |_| {
            bug::report("Xen refused a domain the size of its own reservation");
            0
        },
        |frames| frames as usize,
    )
}
