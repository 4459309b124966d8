//! Bit sets of the ABI as types.

use bitflags::bitflags;

bitflags! {
    /// Page-table entry flags that a PV guest sets (Intel SDM 4.5; Xen checks
    /// them in `xen/arch/x86/mm.c:get_page_from_l1e`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct PageFlags: u64 {
        /// The entry maps something.
        const PRESENT = 1 << 0;
        /// Writable.
        const WRITABLE = 1 << 1;
        /// Reachable from ring 3, where a 64-bit PV kernel runs.
        const USER = 1 << 2;
        /// Set by the processor at the first access.
        const ACCESSED = 1 << 5;
        /// Set by the processor at the first write.
        const DIRTY = 1 << 6;
        /// Superpage (in an L2 or L3 entry).
        const LARGE = 1 << 7;
    }
}

bitflags! {
    /// `flags` of a `netif_tx_request` (`xen/io/netif.h`, `NETTXF_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct TxFlags: u16 {
        /// The transport checksum field holds the pseudo-header sum only.
        const CSUM_BLANK = crate::abi::NETTXF_csum_blank as u16;
        /// The data has been checked, or comes from this host.
        const DATA_VALIDATED = crate::abi::NETTXF_data_validated as u16;
        /// The frame goes on in the next request.
        const MORE_DATA = crate::abi::NETTXF_more_data as u16;
        /// An extra-info slot follows this request.
        const EXTRA_INFO = crate::abi::NETTXF_extra_info as u16;
    }
}

bitflags! {
    /// `flags` of a `netif_rx_response` (`xen/io/netif.h`, `NETRXF_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RxFlags: u16 {
        /// The data has been checked.
        const DATA_VALIDATED = crate::abi::NETRXF_data_validated as u16;
        /// The transport checksum field holds the pseudo-header sum only.
        const CSUM_BLANK = crate::abi::NETRXF_csum_blank as u16;
        /// The frame goes on in the next response.
        const MORE_DATA = crate::abi::NETRXF_more_data as u16;
        /// An extra-info slot follows this response.
        const EXTRA_INFO = crate::abi::NETRXF_extra_info as u16;
        /// A GSO prefix slot (old protocol variant, not negotiated here).
        const GSO_PREFIX = crate::abi::NETRXF_gso_prefix as u16;
    }
}
