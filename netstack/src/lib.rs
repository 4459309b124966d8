//! The network of a Causeway guest: netfront under smoltcp, and the sockets that appliances use.
//!
//! Appliances see this crate's types and those of `core::net` and `embedded-io`, never smoltcp's.
//!
//! Read in this order: `network.rs` (the whole), `drive.rs` and
//! `attend.rs` (its tasks), `stack/`
//! (interface and sockets without device and clock), `tcp/`, `channel/`, `udp.rs`, `dns.rs`, `dhcp.rs`,
//! `netfront/` (the device).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod addressing;
mod announce;
mod attend;
mod autoconf;
mod channel;
mod config;
mod dhcp;
mod dns;
mod drive;
mod error;
mod memory;
mod netfront;
mod network;
mod options;
mod packet;
mod stack;
mod status;
mod tcp;
mod udp;

pub use channel::{ChannelOptions, Xen};
pub use config::Config;
pub use error::{BindError, ConnectError, DatagramError, NetError, ResolveError, StreamError};
pub use netfront::{LinkStatistics, PageError};
pub use network::{Network, Statistics};
pub use options::{Buffers, Limits, TcpOptions};
pub use tcp::{ReadHalf, TcpListener, TcpStream, WriteHalf};
pub use udp::UdpSocket;

#[cfg(test)]
mod tests;
