//! Types for bit sets of the ABI.

use bitflags::bitflags;

bitflags! {
    /// Page-table entry flags (Intel SDM 4.5; for a PV guest Xen checks them in
    /// `xen/arch/x86/mm.c:get_page_from_l1e`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct PageFlags: u64 {
        /// The entry is valid.
        const PRESENT = 1 << 0;
        /// Writable.
        const WRITABLE = 1 << 1;
        /// Accessible from ring 3, in which a 64-bit PV kernel runs.
        const USER = 1 << 2;
        /// Set by the processor on the first access.
        const ACCESSED = 1 << 5;
        /// Set by the processor on the first write.
        const DIRTY = 1 << 6;
        /// Superpage (in an L2 or L3 entry).
        const LARGE = 1 << 7;
        /// No instruction is fetched from the page.
        const NO_EXECUTE = 1 << 63;
    }
}
