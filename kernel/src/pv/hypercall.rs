//! Hypercalls that only PV guests make: page tables, memory reservation, traps,
//! suspend.

use crate::bug;
use crate::hypercall::{Refused, address, call};
use xen_sys::abi;

/// `SCHEDOP_shutdown` with reason suspend. Its third argument is the machine
/// frame of start_info, where the toolstack leaves what the domain must know
/// when it continues (`tools/libs/guest/xg_sr_save_x86_pv.c`). Returns 0 in a
/// new domain and 1 in the same one.
///
/// # Safety
/// Nothing foreign is mapped, and start_info names its rings by pseudo-physical
/// frame numbers.
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

/// `HYPERVISOR_mmu_update` for this domain.
///
/// # Safety
/// The updates must leave every mapping that Rust relies on in place.
pub(crate) unsafe fn mmu_update(updates: &[abi::mmu_update]) -> Result<(), Refused> {
    // SAFETY: the caller's promise; the length goes with the pointer.
    unsafe {
        call::<{ abi::__HYPERVISOR_mmu_update }>([
            address(updates.as_ptr()),
            updates.len() as u64,
            0,
            u64::from(abi::DOMID_SELF),
            0,
        ])
    }
    .map(drop)
}

/// `HYPERVISOR_update_va_mapping`: sets the L1 entry that maps `virtual_address`.
///
/// # Safety
/// The new entry must leave every mapping that Rust relies on in place.
pub(crate) unsafe fn update_va_mapping(virtual_address: usize, entry: u64) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    unsafe {
        call::<{ abi::__HYPERVISOR_update_va_mapping }>([
            virtual_address as u64,
            entry,
            u64::from(abi::UVMF_INVLPG),
            0,
            0,
        ])
    }
    .map(drop)
}

/// Flushes all cached translations of this vCPU (`HYPERVISOR_mmuext_op`).
pub(super) fn flush_tlb() {
    let operation = abi::mmuext_op {
        cmd: abi::MMUEXT_TLB_FLUSH_LOCAL,
        arg1: abi::mmuext_op__bindgen_ty_1 { mfn: 0 },
        arg2: abi::mmuext_op__bindgen_ty_2 { nr_ents: 0 },
    };
    // SAFETY: one valid operation, which changes no mapping.
    let flushed = unsafe {
        call::<{ abi::__HYPERVISOR_mmuext_op }>([
            address(&raw const operation),
            1,
            0,
            u64::from(abi::DOMID_SELF),
            0,
        ])
    };
    if flushed.is_err() {
        bug::report("Xen refused to flush the TLB");
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
/// frame number in `extents`, and replaces each number by the machine frame's.
/// Returns how many extents Xen has processed.
///
/// # Safety
/// None of these frames has memory.
pub(super) unsafe fn populate_physmap(extents: &mut [u64], order: u32) -> usize {
    // SAFETY: Xen reads and writes the list; the rest is the caller's promise.
    unsafe { reservation(abi::XENMEM_populate_physmap, extents, order) }
}

/// `XENMEM_decrease_reservation`: gives machine frames back and returns how
/// many.
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

/// `HYPERVISOR_set_trap_table`: a table that ends in an entry of zeros.
///
/// # Safety
/// Every address in the table is a trap handler for its vector.
pub(crate) unsafe fn set_trap_table(table: *const abi::trap_info) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    unsafe { call::<{ abi::__HYPERVISOR_set_trap_table }>([address(table), 0, 0, 0, 0]) }.map(drop)
}
