//! XENVMC: the channel between co-resident guests, as sans-I/O state machines.
//!
//! The crate knows neither Xen nor smoltcp. The same code runs in the guest and
//! in the simulator under a virtual clock; what it needs of them is
//! [`Platform`]. docs/protocol.md describes the protocol.
//!
//! Read in this order:
//!
//! | module | what it holds | module of the paper |
//! |---|---|---|
//! | [`wire`] | what bytes mean, without state | M3 |
//! | [`ring`] | the byte ring of one direction | M2 |
//! | `link` | what two guests share: memory, events, rings | M3 |
//! | `flow` | one connection over its link | M1, M2, M4 |
//! | `peers` | who lives on this host, and the proof of it | `VMs[]` |
//! | `links` | links come and go | M1 |
//! | `addresses` | the addresses of a link | `VMs[]` |
//! | `events` | what an event and a message do; membership | M3, M5 |
//! | `suspend` | leave, re-home, freeze, resume | M6 |
//! | `vmc` | [`Vmc`]: the tables, and views of one thing | |
//!
//! `keys` names links and connections, `limits` has every bound and time-out,
//! `error` says whose fault a failure is.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod addresses;
mod cause;
mod config;
mod error;
mod events;
mod flow;
mod guest;
mod keys;
mod limits;
mod link;
mod links;
mod membership;
mod output;
mod peers;
pub mod platform;
mod report;
pub mod ring;
mod statistics;
mod stream;
mod suspend;
mod vmc;
pub mod wire;

pub use cause::{Cause, CauseCounters};
pub use config::{Config, LeaveReason, Mode};
pub use keys::{ConnKey, LinkKey};
pub use membership::Membership;
pub use output::Output;
pub use peers::PeerState;
pub use platform::{DomId, Instant, Platform, PlatformError, PortState, Uuid};
pub use report::Report;
pub use statistics::{ConnStatistics, LinkCounters, LinkStatistics, Refusals, Statistics};
pub use stream::{FourTuple, Pair, Received, StreamEnd, Tcp};
pub use suspend::Phase;
pub use vmc::Vmc;
pub use wire::message::MemberEvent;
