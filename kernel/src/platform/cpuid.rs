//! The processor's features, as Xen presents them to this domain.

use super::{Kind, kind};
use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// The leaf with the basic feature bits.
pub(super) const FEATURES: u32 = 1;

/// RDRAND, in ECX of [`FEATURES`].
const RDRAND: u32 = 1 << 30;

/// Returns EAX and ECX of a CPUID leaf as Xen presents it to this domain.
pub(super) fn cpuid(leaf: u32) -> (u32, u32) {
    match kind() {
        Kind::Pv => forced(leaf),
        Kind::Pvh => {
            let CpuidResult { eax, ecx, .. } = __cpuid_count(leaf, 0);
            (eax, ecx)
        }
    }
}

/// Returns EAX and ECX of a CPUID leaf in a PV guest, without the features that the
/// toolstack hides. The prefix asks for that
/// (`xen/include/public/arch-x86/xen.h`, `XEN_EMULATE_PREFIX`); without it a PV
/// guest may see the bare processor. In a PVH guest the prefix faults.
fn forced(leaf: u32) -> (u32, u32) {
    let (eax, ecx): (u32, u32);
    // SAFETY: Xen treats the five bytes and the instruction together as a
    // request, and changes only four registers. RBX is reserved by the
    // compiler, so it is saved.
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

/// Returns whether the processor has RDRAND. In a host process, where no Xen
/// answers, it counts as missing.
pub(crate) fn has_rdrand() -> bool {
    crate::shared_info::is_mapped() && cpuid(FEATURES).1 & RDRAND != 0
}
