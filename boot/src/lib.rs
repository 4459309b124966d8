//! The first instructions of a Causeway guest.
//!
//! - [`entry`]: ELF notes, the entry point, the hypercall page, trap stubs;
//! - [`intrinsics`]: the memory routines that `core` expects from its platform.
//!
//! Xen's domain builder passes the address of `start_info` in RSI; the entry
//! point calls `causeway_start` with it, which `kernel::guest!` defines in the
//! image.
#![cfg_attr(not(test), no_std)]

#[cfg(not(test))]
pub mod entry;
pub mod intrinsics;
