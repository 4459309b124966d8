//! What a session waits for: bytes and ends of both connections, room to write, and times.

use crate::next_hop::Unreachable;
use alloc::boxed::Box;
use core::future::{Future, pending};
use core::pin::Pin;
use embedded_io_async::{BufRead, Write};
use kernel::shutdown::Stopping;
use kernel::time::{self, Instant};
use netstack::{ReadHalf, StreamError, TcpStream, WriteHalf};

/// A connection that is being opened.
pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, Unreachable>>>>;

/// The result of a wait for the next hop.
pub(crate) enum HopInput<'a> {
    Connected(Result<TcpStream, Unreachable>),
    Bytes(Result<&'a [u8], StreamError>),
}

/// The source of the client's input.
pub(crate) enum ClientSource<'a> {
    None,
    Open(&'a mut ReadHalf),
    /// Nothing is read; only the client's end is looked for.
    Held(&'a mut ReadHalf),
}

/// What comes from the client.
pub(crate) enum ClientInput<'a> {
    Bytes(&'a [u8]),
    /// Its FIN.
    Parted,
}

impl<'a> ClientSource<'a> {
    pub(crate) async fn wait(self) -> Result<ClientInput<'a>, StreamError> {
        match self {
            Self::None => pending().await,
            Self::Open(read) => read.fill_buf().await.map(ClientInput::Bytes),
            Self::Held(read) => read.ended().await.map(|()| ClientInput::Parted),
        }
    }
}

/// The source of the next hop's input.
pub(crate) enum HopSource<'a> {
    Open(Option<&'a mut ReadHalf>),
    Opening(&'a mut Connecting),
}

impl<'a> HopSource<'a> {
    pub(crate) async fn wait(self) -> HopInput<'a> {
        match self {
            Self::Open(read) => HopInput::Bytes(fill(read).await),
            Self::Opening(connecting) => HopInput::Connected(connecting.await),
        }
    }
}

/// Waits for bytes; never completes if there is nothing to read from.
async fn fill(read: Option<&mut ReadHalf>) -> Result<&[u8], StreamError> {
    match read {
        Some(read) => read.fill_buf().await,
        None => pending().await,
    }
}

/// Writes some of `bytes`; never completes if there are none.
pub(crate) async fn write(
    write: Option<&mut WriteHalf>,
    bytes: &[u8],
) -> Result<usize, StreamError> {
    match write {
        Some(write) if !bytes.is_empty() => write.write(bytes).await,
        _ => pending().await,
    }
}

/// Does `then` at `from`, or at once.
pub(crate) async fn held<T>(from: Option<Instant>, then: impl Future<Output = T>) -> T {
    if let Some(from) = from {
        time::sleep_until(from).await;
    }
    then.await
}

pub(crate) async fn alarm(end: Option<Instant>) {
    match end {
        Some(end) => time::sleep_until(end).await,
        None => pending().await,
    }
}

pub(crate) async fn stop(stopping: &Stopping, told: bool) {
    if told {
        pending().await
    } else {
        stopping.requested().await;
    }
}
