//! The first instructions of a Causeway guest.
//!
//! - [`entry`]: ELF notes, the entry point, the hypercall page, trap stubs;
//! - [`intrinsics`]: the memory routines that `core` expects from its platform.
//!
//! Xen starts the image as a PV guest at `_start`, with the address of `start_info`
//! in RSI, or as a PVH guest at `_start_pvh`, with the address of `hvm_start_info` in
//! EBX. Both call `causeway_start` with the address and the kind, which
//! `kernel::guest!` defines in the image.
#![cfg_attr(not(test), no_std)]

#[cfg(not(test))]
pub mod entry;
pub mod intrinsics;
