//! Clients that check what a guest's network does, byte by byte.
//!
//! [`stream`] and [`datagram`] use dom0's sockets; [`frame`] builds raw frames, [`parse`] reads them,
//! [`junk`] and [`hello`] make hostile ones and [`raw`] puts them on a guest's interface; [`ping`]
//! reads ping(8); [`router`] makes dom0 a router.

pub mod datagram;
pub mod frame;
pub mod hello;
pub mod junk;
pub mod parse;
pub mod pattern;
pub mod ping;
pub mod raw;
pub mod router;
pub mod stream;
