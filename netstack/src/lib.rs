//! The network of a Causeway guest: netfront under smoltcp, and the sockets that appliances use.
//!
//! Appliances see this crate's types and those of `core::net` and `embedded-io`, never smoltcp's.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod announce;
mod dhcp;
mod dns;
mod error;
mod options;
mod stack;
mod tcp;
mod udp;

pub use error::{BindError, ConnectError, DatagramError, ResolveError, StreamError};
pub use options::{Buffers, Limits, TcpOptions};
pub use tcp::{ReadHalf, TcpListener, TcpStream, WriteHalf};
pub use udp::UdpSocket;

#[cfg(test)]
mod tests;
