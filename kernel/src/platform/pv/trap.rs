//! The trap table of a PV guest.

use super::hypercall::set_trap_table;
use crate::platform::trap::{NMI, VECTORS, stub};
use xen_sys::abi;

/// Bit of `trap_info.flags`: events are masked while the handler runs.
const MASK_EVENTS: u8 = 4;

unsafe extern "C" {
    static nmi_stub: u8;
}

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
            _ => stub(vector),
        };
    }
    // SAFETY: every entry names the stub of its vector; the last is zero.
    unsafe { set_trap_table(table.as_ptr()) }.expect("Xen takes a valid trap table");
}
