//! Traps. None occurs in normal operation; one is a bug, reported like a panic,
//! with the processor's state. A non-maskable interrupt is none: an operator can
//! send one at any time (`xl trigger nmi`), and it is only counted.

use super::{Kind, fault_address, kind};
use core::sync::atomic::{AtomicU64, Ordering};

/// The number of vectors with a stub in `boot`, and the distance between two
/// stubs in bytes.
pub(super) const VECTORS: usize = 20;
const STUB_BYTES: u64 = 16;

/// The vector of non-maskable interrupts, which has a stub of its own.
pub(super) const NMI: usize = 2;

unsafe extern "C" {
    static trap_stubs: u8;
    static nmi_count: AtomicU64;
}

/// Non-maskable interrupts that have been reported.
static REPORTED: AtomicU64 = AtomicU64::new(0);

/// Returns the address of the stub of `vector`.
pub(super) fn stub(vector: usize) -> u64 {
    assert!(vector < VECTORS);
    (&raw const trap_stubs) as u64 + vector as u64 * STUB_BYTES
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

/// The handler that the stubs call. `frame` points at the vector, then, in a PV
/// guest, RCX and R11, then the error code if the vector has one, then RIP, CS,
/// RFLAGS, RSP, SS.
///
/// # Safety
/// Called only by the stubs of `boot`.
#[unsafe(no_mangle)]
unsafe extern "C" fn causeway_trap(frame: *const u64) -> ! {
    // SAFETY: the stub, and Xen or the processor, pushed at least these words.
    let word = |index: usize| unsafe { frame.add(index).read() };
    let vector = word(0);
    let first = match kind() {
        Kind::Pv => 3,
        Kind::Pvh => 1,
    };
    let (error, after) = match vector {
        8 | 10..=14 | 17 => (word(first), first + 1),
        _ => (0, first),
    };
    let name = match vector {
        0 => "divide error",
        3 => "breakpoint",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        19 => "SIMD floating-point error",
        _ => "trap",
    };
    let (rip, rsp) = (word(after), word(after + 3));
    if vector == 14 {
        let address = fault_address();
        panic!("{name} at address {address:#x}, error {error:#x}, rip {rip:#x}, rsp {rsp:#x}");
    }
    panic!("{name} (vector {vector}), error {error:#x}, rip {rip:#x}, rsp {rsp:#x}");
}
