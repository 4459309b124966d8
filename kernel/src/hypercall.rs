//! Hypercalls, each through its trampoline in the hypercall page, with
//! arguments in RDI, RSI, RDX, R10, R8
//! (`xen/include/public/arch-x86/xen-x86_64.h`).
//!
//! This file has the call itself, which `calls` counts, and the operations
//! common to all kinds of guest. Those of one kind only are in
//! `platform::pv::hypercall` and `platform::pvh::hypercall`.

mod calls;

pub use calls::{Calls, counts};

use crate::bug;
use calls::Kind;
use core::arch::asm;
use core::ffi::c_void;
use core::fmt;
use core::time::Duration;
use xen_sys::abi;

unsafe extern "C" {
    static hypercall_page: [u8; 4096];
}

/// The error number of a hypercall that Xen refused
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

/// Makes hypercall `NUMBER`.
///
/// # Safety
/// The arguments must be what hypercall `NUMBER` expects, and every pointer
/// among them valid for what Xen reads and writes through it.
#[inline(always)]
pub(crate) unsafe fn call<const NUMBER: u32>(arguments: [u64; 5]) -> Result<u64, Refused> {
    let [first, second, third, fourth, fifth] = arguments;
    calls::count(const { calls::kind(NUMBER) });
    let result: i64;
    // SAFETY: the trampoline preserves every register but RAX; debug builds of
    // Xen destroy the argument registers, so they count as clobbered. It pushes
    // onto the stack, hence no `nostack`. The caller promises the rest.
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

/// Returns the address of the hypercall page.
pub(crate) fn page() -> u64 {
    (&raw const hypercall_page) as u64
}

/// Returns a pointer as a hypercall argument.
pub(crate) fn address<T>(pointer: *const T) -> u64 {
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

/// `VCPUOP_get_runstate_info`: returns how long this vCPU has run in this
/// domain, including its hypercalls
/// (`xen/common/schedule.c:vcpu_runstate_get`).
#[must_use]
pub fn time_running() -> Duration {
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
    if asked.is_err() {
        bug::report("Xen refused a vCPU its own state");
    }
    Duration::from_nanos(info.time[abi::RUNSTATE_running as usize])
}

/// Returns the version of the hypervisor as (major, minor).
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
