//! Traps. None occurs in normal operation; one is a bug, reported like a panic,
//! with the processor's state. A non-maskable interrupt is none: an operator can
//! send one at any time (`xl trigger nmi`), and it is only counted.

use super::hypercall::set_trap_table;
use crate::shared_info::shared_info;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::abi;

/// The number of vectors with a stub in `boot`, and the distance between two
/// stubs in bytes.
const VECTORS: usize = 20;
const STUB_BYTES: u64 = 16;

/// Bit of `trap_info.flags`: events are masked while the handler runs.
const MASK_EVENTS: u8 = 4;

/// The vector of non-maskable interrupts, which has a stub of its own.
const NMI: usize = 2;

unsafe extern "C" {
    static trap_stubs: u8;
    static nmi_stub: u8;
    static nmi_count: AtomicU64;
}

/// Non-maskable interrupts that have been reported.
static REPORTED: AtomicU64 = AtomicU64::new(0);

/// Registers the stubs of all vectors that a guest may handle.
pub(super) fn init() {
    let mut table = [const {
        abi::trap_info {
            vector: 0,
            flags: 0,
            cs: 0,
            address: 0,
        }
    }; VECTORS + 1];
    for (vector, entry) in table.iter_mut().take(VECTORS).enumerate() {
        entry.vector = vector as u8;
        entry.flags = MASK_EVENTS;
        entry.cs = abi::FLAT_KERNEL_CS as u16;
        entry.address = match vector {
            NMI => (&raw const nmi_stub) as u64,
            _ => (&raw const trap_stubs) as u64 + vector as u64 * STUB_BYTES,
        };
    }
    // SAFETY: every entry names the stub of its vector; the last is zero.
    unsafe { set_trap_table(table.as_ptr()) }.expect("Xen takes a valid trap table");
}

/// Logs the non-maskable interrupts that have come since the last call.
pub(crate) fn look() {
    // SAFETY: the stub in `boot` defines the counter, and increments it with one
    // instruction on this vCPU.
    let count = unsafe { nmi_count.load(Ordering::Relaxed) };
    let reported = REPORTED.swap(count, Ordering::Relaxed);
    if count != reported {
        log::warn!(
            "trap: {} non-maskable interrupts, which do nothing in this guest",
            count - reported
        );
    }
}

/// The handler that the stubs call. `frame` points at the vector, then RCX,
/// R11, the error code if the vector has one, then RIP, CS, RFLAGS, RSP, SS.
///
/// # Safety
/// Called only by the stubs of `boot`.
#[unsafe(no_mangle)]
unsafe extern "C" fn causeway_trap(frame: *const u64) -> ! {
    // SAFETY: Xen and the stub pushed at least these words.
    let word = |index: usize| unsafe { frame.add(index).read() };
    let vector = word(0);
    let (error, after) = match vector {
        8 | 10..=14 | 17 => (word(3), 4),
        _ => (0, 3),
    };
    let name = match vector {
        0 => "divide error",
        3 => "breakpoint",
        6 => "invalid opcode",
        7 => "device not available",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        19 => "SIMD floating-point error",
        _ => "trap",
    };
    let (rip, rsp) = (word(after), word(after + 3));
    if vector == 14 {
        let address = shared_info().fault_address();
        panic!("{name} at address {address:#x}, error {error:#x}, rip {rip:#x}, rsp {rsp:#x}");
    }
    panic!("{name} (vector {vector}), error {error:#x}, rip {rip:#x}, rsp {rsp:#x}");
}
