//! Connections that are kept open without traffic.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::SocketAddr;

use netstack::{Buffers, TcpOptions, TcpStream};

use crate::failure::Failure;
use crate::measure::{Bench, round};

/// How many may be held, so that orders cannot use up the memory.
const MOST: usize = 512;

/// Little is sent on them.
const BUFFER_BYTES: usize = 4096;

/// Those that are held now.
#[derive(Default)]
pub(crate) struct Held(RefCell<Vec<TcpStream>>);

impl Bench {
    /// Opens `count` connections to an echo service more, has a byte come back on each, and keeps
    /// them. Returns how many there are.
    pub(crate) async fn hold(&self, peer: SocketAddr, count: u64) -> Result<usize, Failure> {
        let options = TcpOptions {
            buffers: Buffers::both(BUFFER_BYTES),
            ..self.options
        };
        for _ in 0..count {
            if self.held().borrow().len() >= MOST {
                return Err(Failure::TooMany(MOST));
            }
            let mut stream = self.connect_with(peer, options).await?;
            round(&mut stream, &[1], &mut [0]).await?;
            self.held().borrow_mut().push(stream);
        }
        Ok(self.held().borrow().len())
    }

    /// Has a byte come back on each connection that is held, and closes them. Returns how many they
    /// were.
    pub(crate) async fn release(&self) -> Result<usize, Failure> {
        let held = self.held().take();
        let count = held.len();
        for mut stream in held {
            round(&mut stream, &[2], &mut [0]).await?;
            stream.close().await?;
        }
        Ok(count)
    }

    fn held(&self) -> &RefCell<Vec<TcpStream>> {
        &self.state().held.0
    }
}
