//! The byte stream that applications read and write.
//!
//! The types are Causeway's own, not smoltcp's: a stream moves between TCP and shared memory
//! without its application noticing (design rule R4).

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Poll, ready};

use embedded_io::ErrorType;
use embedded_io_async::{BufRead, Read, Write};
use vmc::Platform;

use super::connection::Connection;
use crate::channel::Xen;
use crate::error::StreamError;

/// Bytes of the buffer behind `fill_buf`, which is allocated on first use.
const READ_AHEAD: usize = 4096;

/// A TCP connection.
///
/// Reads and writes can be cancelled at any await without losing or repeating bytes. `read`
/// returns 0 bytes once the peer has sent its FIN and everything before it has been read.
///
/// `flush` returns at once: TCP delivers every byte that `write` took. To learn that the peer has
/// them, use [`TcpStream::close`].
///
/// Dropping the stream closes it in the background: what was written is delivered, within
/// [`TcpOptions::linger`](crate::TcpOptions::linger).
pub struct TcpStream<P: Platform = Xen> {
    read: ReadHalf<P>,
    write: WriteHalf<P>,
}

/// The reading half of a [`TcpStream`].
pub struct ReadHalf<P: Platform = Xen> {
    connection: Rc<Connection<P>>,
    ahead: Option<Box<ReadAhead>>,
}

/// The writing half of a [`TcpStream`]; dropping it sends a FIN.
pub struct WriteHalf<P: Platform = Xen> {
    connection: Rc<Connection<P>>,
}

/// Bytes taken from the connection and not yet consumed.
struct ReadAhead {
    bytes: [u8; READ_AHEAD],
    start: usize,
    end: usize,
}

impl ReadAhead {
    /// Returns the buffer in `place`, which is made if there is none.
    fn of(place: &mut Option<Box<Self>>) -> &mut Self {
        place.get_or_insert_with(|| {
            Box::new(Self {
                bytes: [0; READ_AHEAD],
                start: 0,
                end: 0,
            })
        })
    }

    /// Returns the room behind the bytes that wait, as much as there can be.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.bytes[self.end..]
    }
}

impl<P: Platform> TcpStream<P> {
    pub(crate) fn new(connection: Rc<Connection<P>>) -> Self {
        Self {
            read: ReadHalf {
                connection: connection.clone(),
                ahead: None,
            },
            write: WriteHalf { connection },
        }
    }

    /// Splits the stream into its two directions, for two tasks. The connection closes when both
    /// are dropped.
    pub fn split(self) -> (ReadHalf<P>, WriteHalf<P>) {
        (self.read, self.write)
    }

    /// Our address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.read.local_addr()
    }

    /// The peer's address and port.
    pub fn peer_addr(&self) -> SocketAddr {
        self.read.peer_addr()
    }

    /// Sends a FIN after what was written; the stream can still be read. Later writes fail with
    /// [`StreamError::WriteClosed`].
    pub fn shutdown_write(&mut self) {
        self.write.shutdown();
    }

    /// Closes the stream and waits until the peer has acknowledged everything written, at most
    /// for the linger time. Bytes that went through shared memory are acknowledged once they have
    /// been read. What the peer still sends is thrown away. A cancelled `close` goes on in the
    /// background.
    ///
    /// # Errors
    /// Why not everything is known to have arrived.
    pub async fn close(self) -> Result<(), StreamError> {
        let record = self.read.connection.record();
        drop(self);
        poll_fn(|cx| record.poll_delivered(cx)).await
    }

    /// Resets the connection; what has not been delivered is lost.
    pub fn abort(self) {
        self.read.connection.abort();
    }

    /// Sets whether small segments go out at once (true) or wait for an acknowledgement (Nagle's
    /// algorithm).
    pub fn set_nodelay(&self, nodelay: bool) {
        self.write.connection.set_nodelay(nodelay);
    }

    /// Returns the number of bytes written that the peer has not acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        self.write.connection.unacknowledged()
    }
}

impl<P: Platform> ReadHalf<P> {
    /// Our address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.connection.local_addr()
    }

    /// The peer's address and port.
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection.peer_addr()
    }

    /// Waits until the peer has sent its FIN or the connection has broken, without consuming
    /// anything: bytes that come before wait for the reader, up to 4 KiB of them behind
    /// [`BufRead::fill_buf`]. A FIN behind more bytes than that on shared memory is not seen until
    /// they are read; the end of the connection is seen in any case.
    ///
    /// # Errors
    /// Why the connection broke.
    pub async fn ended(&mut self) -> Result<(), StreamError> {
        let Self { connection, ahead } = self;
        let ahead = ReadAhead::of(ahead);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(end) = connection.poll_ended(cx) {
                    return Poll::Ready(end);
                }
                let room = ahead.room();
                if room.is_empty() {
                    return Poll::Pending;
                }
                match ready!(connection.poll_read(cx, room)) {
                    Ok(0) => return Poll::Ready(Ok(())),
                    Ok(len) => ahead.end += len,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    async fn read_direct(&mut self, buf: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.connection.poll_read(cx, buf)).await
    }
}

impl<P: Platform> WriteHalf<P> {
    /// Sends a FIN after what was written. Later writes fail with [`StreamError::WriteClosed`].
    pub fn shutdown(&mut self) {
        self.connection.shutdown_write();
    }

    /// Returns the number of bytes written that the peer has not acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        self.connection.unacknowledged()
    }

    /// Resets the connection in both directions; what has not been delivered is lost.
    pub fn abort(self) {
        self.connection.abort();
    }
}

impl<P: Platform> Drop for WriteHalf<P> {
    fn drop(&mut self) {
        self.connection.shutdown_write();
    }
}

impl<P: Platform> ErrorType for TcpStream<P> {
    type Error = StreamError;
}

impl<P: Platform> ErrorType for ReadHalf<P> {
    type Error = StreamError;
}

impl<P: Platform> ErrorType for WriteHalf<P> {
    type Error = StreamError;
}

impl<P: Platform> Read for ReadHalf<P> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, StreamError> {
        if buf.is_empty() {
            return Ok(0);
        }
        if let Some(ahead) = self.ahead.as_mut().filter(|ahead| ahead.start < ahead.end) {
            let waiting = &ahead.bytes[ahead.start..ahead.end];
            let len = waiting.len().min(buf.len());
            buf[..len].copy_from_slice(&waiting[..len]);
            ahead.start += len;
            return Ok(len);
        }
        self.read_direct(buf).await
    }
}

impl<P: Platform> BufRead for ReadHalf<P> {
    async fn fill_buf(&mut self) -> Result<&[u8], StreamError> {
        let ahead = ReadAhead::of(&mut self.ahead);
        if ahead.start == ahead.end {
            // Nothing is lost if this is cancelled: the range changes after the read.
            let len = poll_fn(|cx| self.connection.poll_read(cx, &mut ahead.bytes)).await?;
            ahead.start = 0;
            ahead.end = len;
        }
        Ok(&ahead.bytes[ahead.start..ahead.end])
    }

    fn consume(&mut self, amt: usize) {
        if let Some(ahead) = &mut self.ahead {
            ahead.start = (ahead.start + amt).min(ahead.end);
        }
    }
}

impl<P: Platform> Write for WriteHalf<P> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, StreamError> {
        if buf.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| self.connection.poll_write(cx, buf)).await
    }

    async fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }
}

impl<P: Platform> Read for TcpStream<P> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, StreamError> {
        self.read.read(buf).await
    }
}

impl<P: Platform> BufRead for TcpStream<P> {
    async fn fill_buf(&mut self) -> Result<&[u8], StreamError> {
        self.read.fill_buf().await
    }

    fn consume(&mut self, amt: usize) {
        self.read.consume(amt);
    }
}

impl<P: Platform> Write for TcpStream<P> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, StreamError> {
        self.write.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), StreamError> {
        self.write.flush().await
    }
}

impl<P: Platform> fmt::Debug for TcpStream<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TcpStream({} to {})",
            self.local_addr(),
            self.peer_addr()
        )
    }
}
