//! Listening: what applications hold of a backlog.

use core::future::poll_fn;
use core::task::{Context, Poll};

use vmc::Platform;

use super::connection::Connection;
use super::stream::TcpStream;
use crate::channel::Xen;
use crate::error::BindError;
use crate::options::TcpOptions;
use crate::stack::Shared;

/// A TCP port that accepts connections. Dropping it resets those that were not accepted yet.
pub struct TcpListener<P: Platform = Xen> {
    shared: Shared<P>,
    port: u16,
}

impl<P: Platform> Shared<P> {
    /// Listens on `port` of every address; at most `backlog` (at least 1) connections wait to be
    /// accepted, handshakes included.
    pub(crate) fn listen(
        &self,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<TcpListener<P>, BindError> {
        self.with(|stack| {
            stack
                .tcp
                .listen(&mut stack.sockets, port, backlog, options)?;
            Ok(TcpListener {
                shared: self.clone(),
                port,
            })
        })
    }
}

impl<P: Platform> TcpListener<P> {
    /// Waits for the next connection; the oldest comes first. Can be cancelled without losing
    /// one.
    pub async fn accept(&mut self) -> TcpStream<P> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<TcpStream<P>> {
        loop {
            let accepted = self
                .shared
                .with(|stack| stack.tcp.accept(&mut stack.sockets, self.port, cx.waker()));
            let Some(record) = accepted else {
                return Poll::Pending;
            };
            // Otherwise it has ended meanwhile: the next one, if any.
            if let Some(connection) = Connection::new(&self.shared, record) {
                return Poll::Ready(TcpStream::new(connection));
            }
        }
    }
}

impl<P: Platform> Drop for TcpListener<P> {
    fn drop(&mut self) {
        self.shared.with(|stack| {
            for record in stack.tcp.stop_listening(self.port) {
                stack.reset(&record);
                stack.release(&record);
            }
            stack.kick();
        });
    }
}
