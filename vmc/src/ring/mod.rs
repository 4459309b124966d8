//! The byte ring of one direction: one producer, one consumer, 64-bit stream
//! offsets as indices (docs/protocol.md, "The ring of one direction").
//!
//! Read `layout` first (the header, and the rule of notification), then `lie`
//! (which of the peer's indices are believed, design rule R7), then [`Producer`]
//! and [`Consumer`]. Both decide by private copies. Of the header they fetch only
//! the words that the other side writes, each once per decision. They hold no
//! memory: every call is given the one memory that the ring is in.
//!
//! The caller rings the doorbell when `must_ring` says so, and waits only after
//! `wait_for_…` has returned `false`; then no wake-up is lost
//! (`vmc/tests/ring_loom.rs` shows it).

mod consumer;
mod layout;
mod lie;
#[cfg(test)]
mod model;
mod producer;
#[cfg(test)]
mod tests;

pub use consumer::{Consumer, Taken};
pub use layout::{Geometry, HEADER_BYTES};
pub use lie::IndexLie;
pub use producer::Producer;
