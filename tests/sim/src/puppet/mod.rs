//! A peer that is controlled by hand: it can make a link as `docs/protocol.md`
//! describes, and then say and write anything.
//!
//! `peer.rs` is the peer. It takes the formats from `vmc::wire` and keeps its own
//! state; `script.rs` reads a byte string as what the peer, its victim and the
//! clock do. The fuzzer, its corpus and the tests share it.

mod peer;
mod script;

pub use peer::Peer;
pub use script::run;
