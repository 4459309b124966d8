//! A connection as its user sees it: names, results, and the TCP below it.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// The two ends of a connection, as this side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourTuple {
    /// This guest's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

/// An address of this guest and one of another, between which datagrams and
/// segments travel. What is proved of one pair says nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// This guest's address.
    pub local: IpAddr,
    /// The other one's address.
    pub remote: IpAddr,
}

impl Pair {
    /// Returns the addresses as the other side sees them.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {})", self.remote, self.local)
    }
}

impl FourTuple {
    /// Returns the addresses of both ends.
    #[must_use]
    pub const fn pair(&self) -> Pair {
        Pair {
            local: self.local.ip(),
            remote: self.remote.ip(),
        }
    }

    /// Returns the ends as the other side sees them.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }
}

/// What a read returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing now: the read would block.
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
/// The lengths that it returns never exceed what was given.
pub trait Tcp {
    /// Takes the beginning of `bytes` and returns its length; 0 if there is no room.
    ///
    /// # Errors
    /// [`StreamEnd`], even if `bytes` is empty.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, StreamEnd>;

    /// Fills the beginning of `into`.
    ///
    /// # Errors
    /// [`StreamEnd`], even if `into` is empty.
    fn receive(&mut self, into: &mut [u8]) -> Result<Received, StreamEnd>;

    /// Whether the peer's FIN has arrived, and with it everything that the peer sent.
    fn has_heard_all(&self) -> bool;

    /// Sends a FIN behind what was sent.
    fn close(&mut self);

    /// Resets the connection.
    fn abort(&mut self);
}
