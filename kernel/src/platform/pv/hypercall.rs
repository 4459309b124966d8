//! Hypercalls that only PV guests make: page tables and traps.

use crate::bug;
use crate::hypercall::{Refused, address, call};
use xen_sys::abi;

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

/// `HYPERVISOR_set_trap_table`: a table that ends in an entry of zeros.
///
/// # Safety
/// Every address in the table is a trap handler for its vector.
pub(crate) unsafe fn set_trap_table(table: *const abi::trap_info) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    unsafe { call::<{ abi::__HYPERVISOR_set_trap_table }>([address(table), 0, 0, 0, 0]) }.map(drop)
}
