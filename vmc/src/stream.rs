//! What a connection is to its user: names, results, and the TCP below it.

use core::fmt;
use core::net::SocketAddr;

/// The names of a connection's ends, as this side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourTuple {
    /// This guest's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

impl FourTuple {
    /// Returns the names as the other side sees them.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, more than none.
    Bytes(usize),
    /// Nothing at present: the read would block.
    Nothing,
    /// The peer has finished, and everything was read.
    Finished,
}

/// Why a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The peer, or the end of its link, reset the connection.
    Reset,
    /// TCP has failed; its socket knows why.
    Tcp,
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the connection was reset",
            Self::Tcp => "TCP has failed",
        })
    }
}

impl core::error::Error for StreamEnd {}

/// The TCP socket of one connection.
///
/// Lengths that it returns are ours: not more than was given.
pub trait Tcp {
    /// Takes the beginning of `bytes`; 0 where there is no room.
    ///
    /// # Errors
    /// [`StreamEnd`], also for no bytes at all.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, StreamEnd>;

    /// Fills the beginning of `into`.
    ///
    /// # Errors
    /// [`StreamEnd`], also for no room at all.
    fn receive(&mut self, into: &mut [u8]) -> Result<Received, StreamEnd>;

    /// Sends a FIN behind what was sent.
    fn close(&mut self);

    /// Resets the connection.
    fn abort(&mut self);
}
