//! First instructions of a Causeway guest.
//!
//! - [`entry`]: ELF notes, the entry point, the hypercall page, trap stubs;
//! - [`intrinsics`]: the memory routines that `core` expects of its platform.
//!
//! Control arrives from Xen's domain builder with `start_info` in RSI; it goes
//! on to `causeway_start`, which `kernel::guest!` defines in the image.
#![cfg_attr(not(test), no_std)]

#[cfg(not(test))]
pub mod entry;
pub mod intrinsics;
