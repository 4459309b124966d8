//! An open connection, as its owner holds it: its non-blocking operations, and what dropping it
//! means.
use alloc::rc::Rc;
use core::cell::Cell;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use smoltcp::socket::tcp::{RecvError, Socket, State};
use vmc::{Platform, Received, StreamEnd};

use super::record::Record;
use crate::channel::TcpSocket;
use crate::error::StreamError;
use crate::stack::{Shared, Stack};

/// An open connection, shared by its two halves. When the last of them is dropped, TCP finishes in
/// the background ([`super::linger`]).
pub(crate) struct Connection<P: Platform> {
    shared: Shared<P>,
    record: Rc<Record>,
    local: SocketAddr,
    peer: SocketAddr,
    write_closed: Cell<bool>,
}

impl<P: Platform> Connection<P> {
    /// Takes over `record`. Returns `None`, and releases the socket, if it is not connected, or no
    /// longer.
    pub(super) fn new(shared: &Shared<P>, record: Rc<Record>) -> Option<Rc<Self>> {
        let endpoints = shared.with(|stack| {
            let socket = stack.sockets.get::<Socket<'_>>(record.handle);
            let endpoints = socket.local_endpoint().zip(socket.remote_endpoint());
            if endpoints.is_none() || !socket.is_open() {
                stack.release(&record);
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

    /// Reads into `buf`, which is not empty; returns 0 bytes at the peer's FIN.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        self.shared.with(|stack| {
            if let Some(done) = self.read_channel(stack, cx, buf) {
                return done;
            }
            let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
            match socket.recv_slice(buf) {
                Ok(0) => {
                    socket.register_recv_waker(cx.waker());
                    // The channel may take the connection over while its reader waits.
                    self.record.reader.register(cx.waker());
                    Poll::Pending
                }
                Ok(len) => {
                    self.record.count_received(len);
                    // The window has opened; the poller decides whether to send an update.
                    stack.kick();
                    Poll::Ready(Ok(len))
                }
                Err(RecvError::Finished) => Poll::Ready(Ok(0)),
                Err(RecvError::InvalidState) => Poll::Ready(Err(self.record.error())),
            }
        })
    }

    /// Completes once TCP has the peer's FIN, whatever is unread before it, or is closed.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.shared.with(|stack| {
            let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
            match socket.state() {
                State::CloseWait | State::LastAck | State::Closing | State::TimeWait => {
                    Poll::Ready(Ok(()))
                }
                State::Closed => Poll::Ready(Err(self.record.error())),
                _ => {
                    socket.register_recv_waker(cx.waker());
                    Poll::Pending
                }
            }
        })
    }

    /// Writes the beginning of `buf`, which is not empty; returns how many bytes.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        if self.write_closed.get() {
            return Poll::Ready(Err(StreamError::WriteClosed));
        }
        self.shared.with(|stack| {
            if let Some(done) = self.write_channel(stack, cx, buf) {
                return done;
            }
            let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
            match socket.send_slice(buf) {
                Ok(0) => {
                    socket.register_send_waker(cx.waker());
                    self.record.writer.register(cx.waker());
                    Poll::Pending
                }
                Ok(len) => {
                    self.record.count_sent(len);
                    stack.kick();
                    Poll::Ready(Ok(len))
                }
                Err(_) => Poll::Ready(Err(self.record.error())),
            }
        })
    }

    /// Reads from a connection in the channel's care; `None` if it is not in the channel's care.
    fn read_channel(
        &self,
        stack: &mut Stack<P>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Option<Poll<Result<usize, StreamError>>> {
        let conn = self.record.channel.get()?;
        let channel = stack.channel.as_mut()?;
        let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
        let queued = socket.recv_queue();
        let read = channel.vmc.read(conn, &mut TcpSocket(socket), buf);
        channel.kick();
        if socket.recv_queue() < queued {
            // As above: the window has opened.
            stack.kick();
        }
        Some(Poll::Ready(match read {
            Ok(Received::Bytes(len)) => Ok(len),
            Ok(Received::Finished) => Ok(0),
            Ok(Received::Nothing) => {
                let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
                socket.register_recv_waker(cx.waker());
                self.record.reader.register(cx.waker());
                return Some(Poll::Pending);
            }
            Err(end) => Err(self.ended(end)),
        }))
    }

    /// Writes to a connection in the channel's care; `None` if it is not in the channel's care.
    fn write_channel(
        &self,
        stack: &mut Stack<P>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Option<Poll<Result<usize, StreamError>>> {
        let conn = self.record.channel.get()?;
        let channel = stack.channel.as_mut()?;
        if let Some(error) = self.record.failure.get() {
            return Some(Poll::Ready(Err(error)));
        }
        let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
        let queued = socket.send_queue();
        let written = channel.vmc.write(conn, &mut TcpSocket(socket), buf);
        channel.note_written();
        channel.kick();
        let grown = socket.send_queue() > queued;
        Some(Poll::Ready(match written {
            Ok(0) => {
                socket.register_send_waker(cx.waker());
                self.record.writer.register(cx.waker());
                self.record.blocked.set(true);
                if grown {
                    stack.kick();
                }
                return Some(Poll::Pending);
            }
            Ok(len) => {
                self.record.blocked.set(false);
                self.record.count_sent(len);
                if grown {
                    stack.kick();
                }
                Ok(len)
            }
            Err(end) => Err(self.ended(end)),
        }))
    }

    /// Returns why the stream ended.
    fn ended(&self, end: StreamEnd) -> StreamError {
        if end == StreamEnd::Reset {
            self.record.fail(StreamError::Reset);
        }
        self.record.error()
    }

    /// Sends a FIN after what was written.
    pub(super) fn shutdown_write(&self) {
        if !self.write_closed.replace(true) {
            self.shared.with(|stack| {
                let socket = stack.sockets.get_mut::<Socket<'_>>(self.record.handle);
                match (self.record.channel.get(), &mut stack.channel) {
                    (Some(conn), Some(channel)) => {
                        channel.vmc.finish(conn, &mut TcpSocket(socket));
                        self.record.finishing.set(true);
                        channel.note_written();
                        channel.kick();
                    }
                    _ => socket.close(),
                }
                stack.kick();
            });
        }
    }

    pub(super) fn record(&self) -> Rc<Record> {
        self.record.clone()
    }

    /// Resets the connection; what was written and not yet sent is lost.
    pub(super) fn abort(&self) {
        self.write_closed.set(true);
        self.record.fail(StreamError::Aborted);
        self.shared.with(|stack| {
            stack.reset(&self.record);
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

    /// Returns the number of bytes written that the peer has not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.shared.with(|stack| {
            let socket = stack.sockets.get::<Socket<'_>>(self.record.handle);
            let shared = match (self.record.channel.get(), &stack.channel) {
                (Some(conn), Some(channel)) => channel.vmc.unconsumed(conn) as usize,
                _ => 0,
            };
            socket.send_queue() + shared
        })
    }
}

impl<P: Platform> Drop for Connection<P> {
    fn drop(&mut self) {
        self.shared.with(|stack| {
            stack.release(&self.record);
            stack.kick();
        });
    }
}
