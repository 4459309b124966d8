//! What bytes mean: the formats of docs/protocol.md, without state.
//!
//! Encoding cannot fail; decoding is total, and invalid bytes decode to `None`.
//! Whatever was decoded is still only what the sender claims.
//!
//! Read in this order: `datagram` (HELLO, CHALLENGE, WELCOME, REFUSED), `control` (the link
//! region), `message` (what two linked guests say), `doorbell` (what an event is
//! about), `resume` (RESUME and RESUMED). `ring` and `tuple` are fields that
//! several of them share.

pub mod control;
pub mod datagram;
pub mod doorbell;
pub mod message;
pub mod resume;
pub mod ring;
mod tuple;

pub use self::datagram::{Cookie, Nonce};
pub use self::message::Message;
pub use self::ring::{References, RingNumber, RingSize};

/// UDP port of the datagrams, source and destination.
pub const PORT: u16 = 22605;
