//! `VMs[]`: the guests of this host, looked up by address, identified by their
//! domain (design rules R3, R19).
//!
//! Read in this order: `table` (what is known of a pair of addresses), `challenge`
//! (who is answered at all), `discovery` (HELLO, WELCOME, REFUSED, and what becomes
//! of them).

mod challenge;
mod discovery;
mod table;

pub(crate) use self::challenge::Challenge;
pub(crate) use self::discovery::Discovery;
pub use self::table::PeerState;
pub(crate) use self::table::Peers;
