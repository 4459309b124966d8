//! A peer that is controlled by hand: it can make a link as `docs/protocol.md`
//! describes, and then say and write anything.
//!
//! `peer.rs` is the peer. It takes the formats from `vmc::wire` and keeps its own
//! state; `script.rs` reads a byte string as what the peer, its victim and the
//! clock do; the fuzzer, its corpus and the tests share it. `phrase.rs` and
//! `voice.rs` are for a world of guests: whole, grammatical but hostile sequences,
//! spoken from one address to one victim.

mod peer;
mod phrase;
mod script;
mod voice;

pub use peer::Peer;
pub use phrase::Phrase;
pub use script::run;
pub use voice::{Stage, Voice};
