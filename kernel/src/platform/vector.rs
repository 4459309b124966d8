//! The processor's wide registers (AVX), which the guest has to enable: Xen
//! starts it with x87 and SSE only (`xen/arch/x86/domain.c:__context_switch`,
//! XCR0 of a vCPU that has set none).
//!
//! The enabled states belong to the vCPU: they are saved and restored with the
//! domain (`xen/arch/x86/domctl.c`, `XEN_DOMCTL_setvcpuextstate`). If the
//! domain's configuration hides AVX by `cpuid=`, the guest copies with SSE2.

use super::cpuid::{FEATURES, cpuid};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Bits of ECX in [`FEATURES`].
const XSAVE: u32 = 1 << 26;
const AVX: u32 = 1 << 28;

/// The leaf that tells which states can be enabled.
const STATE_LEAF: u32 = 0xd;

/// The states of XCR0 that AVX needs: x87, SSE, and the upper halves.
const STATES: u32 = 0b111;

/// Bit of CR4 that allows `xgetbv` and `xsetbv`.
const CR4_OSXSAVE: u64 = 1 << 18;

unsafe extern "C" {
    /// Whether `memcpy` may use AVX (`boot`).
    static memory_is_wide: AtomicBool;
}

/// Enables AVX if this domain may use it, and lets `memcpy` use it.
pub(super) fn init() {
    let (_, features) = cpuid(FEATURES);
    if features & (XSAVE | AVX) != XSAVE | AVX || cpuid(STATE_LEAF).0 & STATES != STATES {
        return;
    }
    let enabled: u32;
    // Xen emulates the privileged ones of these instructions for a PV guest
    // (`xen/arch/x86/pv/emul-priv-op.c:write_cr`, `handle_xsetbv`). SAFETY: Xen
    // has just reported that it offers these states, and this guest relies on
    // nothing else in XCR0 or CR4.
    unsafe {
        let mut cr4: u64;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) cr4 | CR4_OSXSAVE, options(nostack, preserves_flags));
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        if cr4 & CR4_OSXSAVE == 0 {
            return;
        }
        asm!(
            "xsetbv",
            in("ecx") 0,
            in("eax") STATES,
            in("edx") 0,
            options(nostack, preserves_flags)
        );
        asm!(
            "xgetbv",
            in("ecx") 0,
            out("eax") enabled,
            out("edx") _,
            options(nomem, nostack, preserves_flags)
        );
    }
    if enabled & STATES == STATES {
        // SAFETY: a byte that is only read and written as a whole.
        unsafe { memory_is_wide.store(true, Ordering::Relaxed) };
    }
}
