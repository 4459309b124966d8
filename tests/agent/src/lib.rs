//! What the lab runs inside dom0.
//!
//! The library holds only [`protocol`], which the lab's host side shares; the scenarios and their
//! tools are in the `agent` program, because only dom0 runs them.
#![forbid(unsafe_code)]

pub mod protocol;
