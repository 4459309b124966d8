//! Hypercalls that only PVH guests make, and how they get their hypercall page.

use crate::bug;
use crate::domain::DomId;
use crate::hypercall::{Refused, address, call, page};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use xen_sys::{abi, hvm};

/// Most leaves in which Xen's signature is looked for: other interfaces that Xen
/// offers beside its own come first (`xen/include/public/arch-x86/cpuid.h`).
const LEAVES: u32 = 0x100;

/// Finds the leaf with Xen's signature.
fn base_leaf() -> Option<u32> {
    (0..LEAVES)
        .map(|number| hvm::XEN_CPUID_FIRST_LEAF + number * hvm::XEN_CPUID_STEP)
        .find(|&leaf| {
            let found = __cpuid(leaf);
            [found.ebx, found.ecx, found.edx] == hvm::XEN_CPUID_SIGNATURE
        })
}

/// Has Xen fill the hypercall page. Written in 64-bit mode, which also makes the
/// shared info page that of a 64-bit guest (`xen/arch/x86/hvm/hvm.c:
/// hvm_latch_shinfo_size`).
///
/// # Safety
/// Runs once, before the first hypercall.
///
/// # Panics
/// If no Xen is there. Nothing can print it then.
pub(super) unsafe fn init() {
    let base = base_leaf().expect("Xen answers CPUID");
    let register = __cpuid(base + 2).ebx;
    // SAFETY: the register and the meaning of its value are those of this leaf; the
    // page is reserved for it.
    unsafe { write_msr(register, page()) };
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor has the register, and the value changes nothing that Rust relies on.
pub(super) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's promise. The hypercall page changes, hence no `nomem`.
    unsafe {
        asm!(
            "wrmsr",
            in("ecx") register,
            in("eax") value as u32,
            in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags)
        );
    }
}

/// `HVMOP_get_param` of this domain.
pub(super) fn parameter(index: u32) -> u64 {
    parameter_op(hvm::HVMOP_get_param, index, 0).unwrap_or_else(|_| {
        bug::report("Xen refused a domain its own parameter");
        0
    })
}

/// `HVMOP_set_param` of this domain.
pub(super) fn set_parameter(index: u32, value: u64) -> Result<(), Refused> {
    parameter_op(hvm::HVMOP_set_param, index, value).map(drop)
}

/// Reads or writes a parameter of this domain; returns its value.
fn parameter_op(command: u32, index: u32, value: u64) -> Result<u64, Refused> {
    let mut argument = hvm::xen_hvm_param {
        domid: abi::DOMID_SELF as DomId,
        pad: 0,
        index,
        value,
    };
    // SAFETY: the structure of both commands, which Xen reads and may write.
    unsafe {
        call::<{ abi::__HYPERVISOR_hvm_op }>([
            u64::from(command),
            address(&raw mut argument),
            0,
            0,
            0,
        ])
    }?;
    Ok(argument.value)
}

/// `XENMEM_add_to_physmap`: puts entry `idx` of `space` at the guest frame `gpfn`.
///
/// # Safety
/// The frame is not in use as ordinary memory.
pub(super) unsafe fn add_to_physmap(space: u32, idx: u64, gpfn: u64) -> Result<(), Refused> {
    let argument = hvm::xen_add_to_physmap {
        domid: abi::DOMID_SELF as DomId,
        size: 0,
        space,
        idx,
        gpfn,
    };
    // SAFETY: the structure of this command, and the caller's promise.
    unsafe {
        call::<{ abi::__HYPERVISOR_memory_op }>([
            u64::from(abi::XENMEM_add_to_physmap),
            address(&raw const argument),
            0,
            0,
            0,
        ])
    }
    .map(drop)
}
