//! Connections kept open without traffic.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::SocketAddr;

use netstack::{Buffers, TcpOptions, TcpStream};

use crate::client::{Client, round};
use crate::failure::Failure;

/// Connections that may be held, so that orders cannot use up the memory.
const MOST: usize = 512;

/// Bytes of each buffer: little is sent on these connections.
const BUFFER_BYTES: usize = 4096;

/// The connections that are held now.
#[derive(Default)]
pub(crate) struct Held(RefCell<Vec<TcpStream>>);

impl Held {
    /// Opens `count` more connections to an echo service, has a byte come back on each, and keeps
    /// them. Returns how many are held then.
    pub(crate) async fn add(
        &self,
        client: &Client,
        peer: SocketAddr,
        count: u64,
    ) -> Result<usize, Failure> {
        let options = TcpOptions {
            buffers: Buffers::both(BUFFER_BYTES),
            ..client.options
        };
        for _ in 0..count {
            if self.0.borrow().len() >= MOST {
                return Err(Failure::TooMany(MOST));
            }
            let mut stream = client.connect_with(peer, options).await?;
            round(&mut stream, &[1], &mut [0]).await?;
            self.0.borrow_mut().push(stream);
        }
        Ok(self.0.borrow().len())
    }

    /// Has a byte come back on each connection that is held, and closes them. Returns how many
    /// there were.
    pub(crate) async fn release(&self) -> Result<usize, Failure> {
        let held = self.0.take();
        let count = held.len();
        for mut stream in held {
            round(&mut stream, &[2], &mut [0]).await?;
            stream.close().await?;
        }
        Ok(count)
    }
}
