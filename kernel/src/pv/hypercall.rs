//! Hypercalls: one trampoline of the hypercall page each, arguments in RDI,
//! RSI, RDX, R10, R8 (`xen/include/public/arch-x86/xen-x86_64.h`).

use super::calls::{self, Kind};
use core::arch::asm;
use core::ffi::c_void;
use core::fmt;
use core::time::Duration;
use xen_sys::abi;

unsafe extern "C" {
    static hypercall_page: [u8; 4096];
}

/// A hypercall that Xen refused, with its error number
/// (`xen/include/public/errno.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub u32);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            abi::XEN_EPERM => "EPERM",
            abi::XEN_ENOENT => "ENOENT",
            abi::XEN_ESRCH => "ESRCH",
            abi::XEN_EAGAIN => "EAGAIN",
            abi::XEN_ENOMEM => "ENOMEM",
            abi::XEN_EFAULT => "EFAULT",
            abi::XEN_EINVAL => "EINVAL",
            abi::XEN_ENOSPC => "ENOSPC",
            abi::XEN_ENOSYS => "ENOSYS",
            number => return write!(f, "errno {number}"),
        };
        f.write_str(name)
    }
}

/// One hypercall.
///
/// # Safety
/// The arguments must be what hypercall `NUMBER` expects, and every pointer
/// among them valid for what Xen reads and writes through it.
#[inline(always)]
unsafe fn call<const NUMBER: u32>(arguments: [u64; 5]) -> Result<u64, Refused> {
    let [first, second, third, fourth, fifth] = arguments;
    calls::count(const { calls::kind(NUMBER) });
    let result: i64;
    // SAFETY: the trampoline keeps every register but RAX; debug builds of Xen
    // destroy the argument registers, so they count as clobbered. It pushes
    // onto the stack, hence no `nostack`. The rest is the caller's promise.
    unsafe {
        asm!(
            "call {page} + {offset}",
            page = sym hypercall_page,
            offset = const NUMBER * 32,
            inlateout("rdi") first => _,
            inlateout("rsi") second => _,
            inlateout("rdx") third => _,
            inlateout("r10") fourth => _,
            inlateout("r8") fifth => _,
            lateout("rax") result,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    u64::try_from(result).map_err(|_| Refused(u32::try_from(-result).unwrap_or(u32::MAX)))
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as u64
}

/// `HYPERVISOR_sched_op`.
///
/// # Safety
/// `argument` is the structure of `command` (`xen/sched.h`).
pub(crate) unsafe fn sched_op<T>(command: u32, argument: *const T) -> Result<u64, Refused> {
    // SAFETY: the caller's promise.
    unsafe {
        call::<{ abi::__HYPERVISOR_sched_op }>([u64::from(command), address(argument), 0, 0, 0])
    }
}

/// `SCHEDOP_shutdown` with reason suspend, which takes the machine frame of
/// start_info as a third argument: there the toolstack leaves what the domain
/// must know when it goes on (`tools/libs/guest/xg_sr_save_x86_pv.c`). Returns
/// 0 in a new domain and 1 in the same one.
///
/// # Safety
/// Nothing foreign is mapped, and start_info names its rings by the guest's
/// own frame numbers.
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

/// `HYPERVISOR_event_channel_op`.
///
/// # Safety
/// `argument` is the structure of `command` (`xen/event_channel.h`).
pub(crate) unsafe fn event_channel_op<T>(command: u32, argument: *mut T) -> Result<(), Refused> {
    if command == abi::EVTCHNOP_send {
        calls::count(Kind::Send);
    }
    // SAFETY: the caller's promise.
    unsafe {
        call::<{ abi::__HYPERVISOR_event_channel_op }>([
            u64::from(command),
            address(argument),
            0,
            0,
            0,
        ])
    }
    .map(drop)
}

/// `HYPERVISOR_grant_table_op` over a batch of operations.
///
/// # Safety
/// `operations` are structures of `command` (`xen/grant_table.h`), and what
/// they map or unmap is not in use as ordinary memory.
pub(crate) unsafe fn grant_table_op<T>(command: u32, operations: &mut [T]) -> Result<(), Refused> {
    // SAFETY: the caller's promise; the length goes with the pointer.
    unsafe {
        call::<{ abi::__HYPERVISOR_grant_table_op }>([
            u64::from(command),
            address(operations.as_mut_ptr()),
            operations.len() as u64,
            0,
            0,
        ])
    }
    .map(drop)
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

/// Forgets all cached translations of this vCPU (`HYPERVISOR_mmuext_op`).
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
    debug_assert!(flushed.is_ok(), "Xen refused to flush the TLB");
}

/// `HYPERVISOR_memory_op` over a list of extents of 2^`order` pages; returns
/// how many of them Xen has done, the first ones.
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
    // Refused as a whole: none is done.
    done.map_or(0, |done| done as usize).min(extents.len())
}

/// `XENMEM_populate_physmap`: memory for 2^`order` frames from each number in
/// `extents` on, which become the machine's numbers. Returns how many of them
/// Xen has done.
///
/// # Safety
/// None of these frames has memory.
pub(super) unsafe fn populate_physmap(extents: &mut [u64], order: u32) -> usize {
    // SAFETY: Xen reads and writes the list; the rest is the caller's promise.
    unsafe { reservation(abi::XENMEM_populate_physmap, extents, order) }
}

/// `XENMEM_decrease_reservation`: gives machine frames back. Returns how many.
///
/// # Safety
/// The list is valid, and nobody uses these frames.
pub(super) unsafe fn decrease_reservation(frames: *const [u64]) -> usize {
    // SAFETY: Xen only reads this list; the rest is the caller's promise.
    unsafe { reservation(abi::XENMEM_decrease_reservation, frames, 0) }
}

/// `HYPERVISOR_set_trap_table`: a table that ends in an entry of zeros.
///
/// # Safety
/// Every address in the table is a trap handler for its vector.
pub(crate) unsafe fn set_trap_table(table: *const abi::trap_info) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    unsafe { call::<{ abi::__HYPERVISOR_set_trap_table }>([address(table), 0, 0, 0, 0]) }.map(drop)
}

/// `VCPUOP_get_runstate_info`: for how long this vCPU has run in this domain,
/// its hypercalls included (`xen/common/schedule.c:vcpu_runstate_get`).
pub(crate) fn time_running() -> Duration {
    let mut info = abi::vcpu_runstate_info {
        state: 0,
        state_entry_time: 0,
        time: [0; 4],
    };
    // SAFETY: Xen writes the structure of this command; vCPU 0 is this one.
    let asked = unsafe {
        call::<{ abi::__HYPERVISOR_vcpu_op }>([
            u64::from(abi::VCPUOP_get_runstate_info),
            0,
            address(&raw mut info),
            0,
            0,
        ])
    };
    debug_assert!(asked.is_ok(), "a vCPU may ask for its own state");
    Duration::from_nanos(info.time[abi::RUNSTATE_running as usize])
}

/// Version of the hypervisor, as (major, minor).
#[must_use]
pub fn xen_version() -> (u16, u16) {
    // SAFETY: XENVER_version takes no argument and touches no memory.
    let version = unsafe {
        call::<{ abi::__HYPERVISOR_xen_version }>([
            u64::from(abi::XENVER_version),
            address(core::ptr::null::<c_void>()),
            0,
            0,
            0,
        ])
    };
    version.map_or((0, 0), |v| ((v >> 16) as u16, v as u16))
}
