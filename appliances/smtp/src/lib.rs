//! The SMTP core of a relay that has no disk.
//!
//! It takes a message from a client, streams it to the next hop while it
//! arrives, and answers 250 only after the next hop has taken it: nothing
//! accepted is ever lost, and no message is ever held. All of it is a state
//! machine without input or output of its own: a driver moves the bytes between
//! two sockets and a [`Relay`], so the same code runs in a guest, under test
//! and under a fuzzer.
//!
//! Implemented: RFC 5321 with SIZE (RFC 1870), 8BITMIME (RFC 6152),
//! PIPELINING (RFC 2920) and ENHANCEDSTATUSCODES (RFC 2034, RFC 3463).
//!
//! Read in this order: `relay` (the coupling), `server` and `client` (its
//! halves), `submission` (the client half alone, for a guest that sends mail),
//! `opening`, `body` and `drain` (the message on its way), `replies` (the text of every
//! reply), then the small parts: `command`, `foreign`, `address`, `line`, `reply`,
//! `trace`, `hops`, `ring`, `time`, `config`, `network`, `timeouts`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod body;
mod client;
mod command;
mod config;
mod drain;
mod foreign;
mod hops;
mod line;
mod log;
mod network;
mod opening;
mod relay;
mod replies;
mod reply;
mod ring;
mod server;
mod submission;
mod time;
mod timeouts;
mod trace;

pub use address::Mailbox;
pub use client::Failure;
pub use config::{Config, ConfigError, NETWORKS_MAX, RELAY_DOMAINS_MAX};
pub use log::{About, Announced, Log, Outcome};
pub use network::Subnet;
pub use relay::{Action, HopEvent, Phase, Relay, Wait};
pub use reply::{Reply, Status};
pub use submission::{Envelope, Progress, Submission};
pub use time::UnixTime;
pub use timeouts::Timeouts;
pub use trace::QueueId;
