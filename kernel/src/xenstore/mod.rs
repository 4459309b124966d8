//! A client of xenstored, the tree of small values through which guests and
//! toolstack find each other (docs/misc/xenstore.txt,
//! `xen/include/public/io/xs_wire.h`).
//!
//! In the order to read: `client` has the handle and `tree` the operations,
//! `transaction` those that belong together; `session` is the protocol
//! without input and output, with `requests`, `watches` and, for the bytes,
//! `wire`; `driver` moves them through the `ring`; `connection` is what
//! handles and driver share.
//!
//! xenstored runs in dom0 and is trusted with what it says, but not to say it
//! well: lengths and indices are checked, whatever it keeps us waiting for has
//! a deadline, and whatever it sends unasked has a bound. Impossible indices
//! or lengths end the connection with an error for everybody; a single bad
//! reply fails its request alone.

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
