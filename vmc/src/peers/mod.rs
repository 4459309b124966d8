//! `VMs[]`: the guests of this host, looked up by address, identified by UUID
//! (design rule R3).
//!
//! Read in this order: `table` (what is known of an address), `discovery`
//! (HELLO, WELCOME, REFUSED, and what becomes of them).

mod discovery;
mod table;

pub(crate) use self::discovery::Discovery;
pub use self::table::PeerState;
pub(crate) use self::table::Peers;
