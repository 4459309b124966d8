//! A client of xenstored, which keeps a tree of small values through which
//! guests and toolstack find each other (docs/misc/xenstore.txt,
//! `xen/include/public/io/xs_wire.h`).
//!
//! In reading order: `client` has the handle, `tree` the operations,
//! `transaction` groups of operations; `session` is the protocol without I/O,
//! with `requests`, `watches` and the encoding in `wire`; `driver` moves the
//! bytes through the `ring`; `connection` is shared by handles and driver.
//!
//! xenstored runs in dom0. Its values are trusted, but not its protocol:
//! lengths and indices are checked, every wait has a deadline, and whatever it
//! sends unasked is bounded. Impossible indices or lengths end the connection
//! with an error for all requests; a single bad reply fails only its own
//! request.

mod client;
mod connection;
mod driver;
mod error;
mod permission;
mod requests;
mod ring;
mod session;
mod statistics;
mod transaction;
mod tree;
mod wakers;
mod watches;
mod wire;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub use client::{Acknowledgement, Watch, Xenstore};
pub use error::{ErrnoName, ProtocolError, StoreError};
pub use permission::{Access, Permission};
pub use statistics::Statistics;
pub use transaction::Transaction;
pub use tree::Tree;
