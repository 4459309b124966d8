//! Host tests of the sockets: two stacks on an in-memory link under a virtual clock.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop with the error and its place"
)]

extern crate std;

mod channel;
mod dhcp;
mod dns;
mod hostile;
mod lifecycle;
mod listen;
mod transfer;
mod udp;
mod world;
