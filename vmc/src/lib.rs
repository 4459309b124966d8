//! XENVMC: the channel between co-resident guests, as sans-I/O state machines.
//!
//! The crate knows neither Xen nor smoltcp. The same code runs in the guest
//! and in the simulator under a virtual clock; what it needs of them is
//! [`Platform`]. The protocol is described in `docs/protocol.md`.
//!
//! The modules are those of the XENVMC papers. Read them in this order:
//!
//! | module | duty |
//! |---|---|
//! | `channel` | [`Vmc`]: everything together, its timers and outputs |
//! | `vms` | `VMs[]`: who lives on this host, the proof of it, the links |
//! | `message` | M3: doorbells, messages on shared memory, frames |
//! | `connection` | M1: `conn_t` with its `sender` and `recver`; upgrade and fallback |
//! | `analyzer` | M4: which path a socket's bytes take |
//! | `transfer` | M2: reads and writes; [`ring`]: the byte ring of one direction |
//! | `publisher` | M5: announces changes of membership |
//! | `migration` | M6: what a migration or a shutdown does to all this |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod analyzer;
mod channel;
mod config;
mod connection;
mod limits;
mod message;
mod migration;
mod output;
pub mod platform;
mod publisher;
pub mod ring;
mod slab;
mod statistics;
mod stream;
mod transfer;
mod vms;

pub use channel::Vmc;
pub use config::{Config, LeaveReason, Mode};
pub use connection::ConnId;
pub use output::{Cause, Output, Step};
pub use platform::{DomId, Instant, Platform, PlatformError, PortState, Uuid};
pub use publisher::{MemberEvent, Membership};
pub use statistics::{ConnStatistics, LinkCounters, LinkStatistics, Refusals, Statistics};
pub use stream::{FourTuple, Received, StreamEnd, Tcp};
pub use vms::resume::LONGEST as DATAGRAM;
pub use vms::{LinkId, PeerState};

/// UDP port of the datagrams, on both sides.
pub const PORT: u16 = 22605;
