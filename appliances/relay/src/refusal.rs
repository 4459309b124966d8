//! The answer to a client that connects while all sessions are taken.

use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;
use core::time::Duration;
use embedded_io_async::Write;
use kernel::{task, time};
use netstack::TcpStream;

/// Refusals under way at a time; clients beyond that are reset.
const AT_ONCE: usize = 16;

/// How long a refusal may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Counts the refusals under way.
#[derive(Default)]
pub(crate) struct Refusals {
    running: Cell<usize>,
}

impl Refusals {
    /// Sends 421 and closes (RFC 5321, 3.8).
    pub(crate) fn refuse(self: Rc<Self>, client: TcpStream, smtp: &smtp::Config) {
        log::warn!(
            "relay: {}: refused, all sessions are taken",
            client.peer_addr()
        );
        if self.running.get() >= AT_ONCE {
            client.abort();
            return;
        }
        let greeting = smtp.busy_greeting();
        self.running.set(self.running.get() + 1);
        task::spawn(async move {
            // Whether the client took it or not, its connection is over.
            let _ = time::timeout(LIMIT, send(client, greeting)).await;
            self.running.set(self.running.get() - 1);
        })
        .detach();
    }
}

async fn send(mut client: TcpStream, greeting: String) {
    if client.write_all(greeting.as_bytes()).await.is_ok() {
        // An error means that the client is gone.
        let _ = client.close().await;
    }
}
