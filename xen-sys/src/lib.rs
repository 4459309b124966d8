//! Xen's public ABI as plain data without behaviour: hypercall numbers,
//! structures, ring layouts, ELF note ids.
//!
//! [`abi`] is generated from Xen's public headers and keeps their names, so
//! that a reader finds each item in `xen/include/public`. [`flags`] has types
//! for bit sets, [`hvm`] what only PVH guests need, [`ring`] the layout of shared
//! rings, which the headers define only by macros.
#![no_std]
#![forbid(unsafe_code)]

#[expect(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    reason = "generated: names and meanings are those of Xen's headers"
)]
#[allow(
    clippy::all,
    clippy::cast_lossless,
    non_upper_case_globals,
    unused_unsafe,
    reason = "generated: which of these it needs depends on bindgen's version"
)]
pub mod abi;
pub mod flags;
#[expect(non_upper_case_globals, reason = "names are those of Xen's headers")]
pub mod hvm;
pub mod ring;
