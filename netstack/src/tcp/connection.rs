//! An open connection as its owner holds it: non-blocking operations, and what dropping means.

use alloc::rc::Rc;
use core::cell::Cell;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use smoltcp::socket::tcp::{RecvError, Socket};

use super::record::Record;
use crate::error::StreamError;
use crate::stack::Shared;

/// The last owner lets go: TCP finishes in the background ([`super::linger`]).
pub(crate) struct Connection {
    shared: Shared,
    record: Rc<Record>,
    local: SocketAddr,
    peer: SocketAddr,
    write_closed: Cell<bool>,
}

impl Connection {
    /// Takes over `record`; `None`, and the socket is released, if it is not connected (any
    /// more).
    pub(super) fn new(shared: &Shared, record: Rc<Record>) -> Option<Rc<Self>> {
        let endpoints = shared.with(|stack| {
            let socket = stack.sockets.get::<Socket<'_>>(record.handle);
            let endpoints = socket.local_endpoint().zip(socket.remote_endpoint());
            if endpoints.is_none() || !socket.is_open() {
                stack.tcp.release(&mut stack.sockets, &record);
                stack.kick();
                return None;
            }
            endpoints
        });
        endpoints.map(|(local, peer)| {
            Rc::new(Self {
                shared: shared.clone(),
                record,
                local: local.into(),
                peer: peer.into(),
                write_closed: Cell::new(false),
            })
        })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Reads into `buf`, which is not empty; 0 bytes at the peer's FIN.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        self.shared.with(|stack| {
            let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
            match socket.recv_slice(buf) {
                Ok(0) => {
                    socket.register_recv_waker(cx.waker());
                    Poll::Pending
                }
                Ok(len) => {
                    // The window has opened; the poller decides whether that is worth a segment.
                    stack.kick();
                    Poll::Ready(Ok(len))
                }
                Err(RecvError::Finished) => Poll::Ready(Ok(0)),
                Err(RecvError::InvalidState) => Poll::Ready(Err(self.record.error())),
            }
        })
    }

    /// Writes the beginning of `buf`, which is not empty.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        if self.write_closed.get() {
            return Poll::Ready(Err(StreamError::WriteClosed));
        }
        self.shared.with(|stack| {
            let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
            match socket.send_slice(buf) {
                Ok(0) => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
                Ok(len) => {
                    stack.kick();
                    Poll::Ready(Ok(len))
                }
                Err(_) => Poll::Ready(Err(self.record.error())),
            }
        })
    }

    /// Sends a FIN after what was written.
    pub(super) fn shutdown_write(&self) {
        if !self.write_closed.replace(true) {
            self.shared.with(|stack| {
                stack
                    .sockets
                    .get_mut::<Socket<'_>>(self.record.handle)
                    .close();
                stack.kick();
            });
        }
    }

    /// Ready when the peer has acknowledged everything written and the FIN, or never will.
    pub(super) fn poll_delivered(
        record: &Record,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        match record.delivered.get() {
            Some(result) => Poll::Ready(result),
            None => {
                record.closer.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    pub(super) fn record(&self) -> Rc<Record> {
        self.record.clone()
    }

    /// Resets the connection: what was written and not yet sent is lost.
    pub(super) fn abort(&self) {
        self.write_closed.set(true);
        self.record.fail(StreamError::Aborted);
        self.shared.with(|stack| {
            stack
                .sockets
                .get_mut::<Socket<'_>>(self.record.handle)
                .abort();
            stack.kick();
        });
    }

    pub(super) fn set_nodelay(&self, nodelay: bool) {
        self.shared.with(|stack| {
            stack
                .sockets
                .get_mut::<Socket<'_>>(self.record.handle)
                .set_nagle_enabled(!nodelay);
        });
    }

    /// Bytes written that the peer has not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.shared.with(|stack| {
            stack
                .sockets
                .get::<Socket<'_>>(self.record.handle)
                .send_queue()
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.with(|stack| {
            stack.tcp.release(&mut stack.sockets, &self.record);
            stack.kick();
        });
    }
}
