//! A xenstored for tests: a tree in memory behind the real ring, and a
//! harness that drives a client against it under a virtual clock.
//!
//! `page` is the shared page, `tree` the stored nodes, `server` the protocol.

mod harness;
mod page;
mod server;
mod tree;

pub(crate) use harness::{Harness, Woken};
pub(crate) use server::{GUEST, raw_message};
