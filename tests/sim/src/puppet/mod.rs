//! A peer that is moved by hand: it can make a link as `docs/protocol.md` has
//! it, and then say and write anything.
//!
//! `peer.rs` is the peer, written from the protocol alone; `script.rs` reads a
//! byte string as what the peer, its victim and the clock do. The fuzzer, its
//! corpus and the tests share it.

mod peer;
mod script;

pub use peer::{HELLO, Peer, REFUSED, WELCOME};
pub use script::run;
