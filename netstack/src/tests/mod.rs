//! Host tests of the sockets: two stacks on an in-memory link under a virtual clock.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop with the error and its place"
)]

extern crate std;

mod attend;
mod channel;
mod dhcp;
mod dns;
mod hostile;
mod lifecycle;
mod listen;
mod neighbours;
mod network;
mod transfer;
mod udp;
mod world;

use alloc::vec::Vec;

use embedded_io_async::Read;

use crate::error::StreamError;

/// Returns `len` bytes that differ from their neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Reads everything up to the peer's FIN.
async fn read_to_end(stream: &mut impl Read<Error = StreamError>) -> Vec<u8> {
    let mut data = Vec::new();
    let mut buf = [0; 2000];
    loop {
        match stream.read(&mut buf).await.unwrap() {
            0 => return data,
            len => data.extend_from_slice(&buf[..len]),
        }
    }
}
