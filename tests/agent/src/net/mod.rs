//! Clients that check what a guest's network does, byte by byte.
//!
//! [`stream`] and [`datagram`] use dom0's sockets; [`frame`] builds raw frames, [`parse`] reads them,
//! [`junk`] makes hostile ones and [`raw`] puts them on a guest's interface; [`ping`] reads ping(8).

pub(crate) mod datagram;
pub(crate) mod frame;
pub(crate) mod junk;
pub(crate) mod parse;
pub(crate) mod pattern;
pub(crate) mod ping;
pub(crate) mod raw;
pub(crate) mod stream;
