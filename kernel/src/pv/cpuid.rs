//! What the processor can do, as Xen tells it to this domain.

use core::arch::asm;

/// Leaf with the features that all processors of today have names for.
pub(super) const FEATURES: u32 = 1;

/// RDRAND, in ECX of [`FEATURES`].
const RDRAND: u32 = 1 << 30;

/// EAX and ECX of a CPUID leaf as Xen tells it to this domain: what the
/// toolstack hides is hidden. The prefix asks for that
/// (`xen/include/public/arch-x86/xen.h`, `XEN_EMULATE_PREFIX`); without it a PV
/// guest can see the bare processor.
pub(super) fn cpuid(leaf: u32) -> (u32, u32) {
    let (eax, ecx): (u32, u32);
    // SAFETY: Xen takes the five bytes and the instruction together for a
    // request, and changes four registers only. RBX is the compiler's own.
    unsafe {
        asm!(
            "mov {saved}, rbx",
            "ud2",
            ".ascii \"xen\"",
            "cpuid",
            "mov rbx, {saved}",
            saved = out(reg) _,
            inlateout("eax") leaf => eax,
            inlateout("ecx") 0 => ecx,
            lateout("edx") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    (eax, ecx)
}

/// Whether the processor has RDRAND. In a process on a development machine,
/// where nobody answers for Xen, it counts as missing.
pub(crate) fn has_rdrand() -> bool {
    crate::shared_info::is_mapped() && cpuid(FEATURES).1 & RDRAND != 0
}
