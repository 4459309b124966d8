//! Errors of the network and its sockets: one small enum per concern; each variant is a reason that
//! a caller can act on.

use alloc::string::String;
use core::fmt;

use embedded_io::{Error, ErrorKind};
use kernel::event::EventError;
use kernel::xenbus::BusError;
use kernel::xenstore::StoreError;

use crate::netfront::PageError;

/// Why a socket could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Nobody can listen on port 0.
    InvalidPort,
    /// Another socket has the port.
    InUse,
    /// Every ephemeral port is taken.
    NoFreePort,
    /// The buffers exceed the memory that the network may use.
    OutOfMemory,
}

/// Why a TCP connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The address cannot be a peer's: port 0, unspecified, multicast, or one of our own.
    InvalidAddress,
    /// There is no address of that family, or no route.
    Unreachable,
    /// The peer answered with a reset: nobody listens.
    Refused,
    /// Nobody answered within the deadline.
    TimedOut,
    /// Every ephemeral port is taken.
    NoFreePort,
    /// The buffers exceed the memory that the network may use.
    OutOfMemory,
}

/// Why a TCP stream ended before its data did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The peer reset the connection.
    Reset,
    /// The peer did not acknowledge our data, or answer a keep-alive, for the user timeout.
    TimedOut,
    /// This side aborted the connection.
    Aborted,
    /// This side has already closed the direction it writes to.
    WriteClosed,
    /// The interface lost the address that the connection was bound to.
    AddressLost,
}

/// Why a datagram was not sent or not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramError {
    /// The destination is port 0 or the unspecified address.
    InvalidAddress,
    /// There is no address of that family, or no route.
    Unreachable,
    /// The datagram does not fit into one packet. Holds the largest payload in bytes.
    TooLong(usize),
    /// The datagram was longer than the buffer, and is lost. Holds its length in bytes.
    Truncated(usize),
}

/// Why a name could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// Neither the command line nor DHCP named a DNS server.
    NoServer,
    /// The name is empty, too long, or has an empty or over-long label (RFC 1035 section 2.3.4).
    InvalidName,
    /// The name has no address, or no server answered.
    NotFound,
    /// There are as many look-ups under way as the resolver can hold, or there is no memory for
    /// one.
    Busy,
}

/// Why the network does not come up. All but [`NetError::Identity`] is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetError {
    /// There is no device, or its backend does not come up.
    Bus(BusError),
    /// The device's MAC address in xenstore is not valid.
    Mac(String),
    /// The backend cannot copy into our pages (`feature-rx-copy`).
    NoRxCopy,
    /// There are no pages for the rings.
    Pages(PageError),
    /// There is no event channel.
    Event(EventError),
    /// xenstore does not tell the guest's UUID, which identifies it to its peers.
    Identity(StoreError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidPort => "port 0 cannot be listened on",
            Self::InUse => "the port is in use",
            Self::NoFreePort => "no ephemeral port is free",
            Self::OutOfMemory => "no memory for the socket's buffers",
        })
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidAddress => "not an address that can be connected to",
            Self::Unreachable => "no route to the peer",
            Self::Refused => "connection refused",
            Self::TimedOut => "the peer did not answer in time",
            Self::NoFreePort => "no ephemeral port is free",
            Self::OutOfMemory => "no memory for the connection's buffers",
        })
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "connection reset by the peer",
            Self::TimedOut => "the peer stopped answering",
            Self::Aborted => "connection aborted by this side",
            Self::WriteClosed => "written to after this side had closed",
            Self::AddressLost => "the interface lost the connection's address",
        })
    }
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress => f.write_str("not an address that can be sent to"),
            Self::Unreachable => f.write_str("no route to the destination"),
            Self::TooLong(max) => write!(f, "datagram longer than {max} bytes"),
            Self::Truncated(len) => write!(f, "datagram of {len} bytes did not fit the buffer"),
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoServer => "no DNS server is known",
            Self::InvalidName => "not a valid domain name",
            Self::NotFound => "the name has no address",
            Self::Busy => "too many look-ups at once",
        })
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(error) => write!(f, "network: {error}"),
            Self::Mac(text) => write!(f, "network: MAC address {text:?} is not valid"),
            Self::NoRxCopy => f.write_str("network: the backend cannot copy received packets"),
            Self::Pages(error) => write!(f, "network: {error}"),
            Self::Event(error) => write!(f, "network: {error}"),
            Self::Identity(error) => write!(f, "network: the domain's UUID: {error}"),
        }
    }
}

impl core::error::Error for BindError {}
impl core::error::Error for ConnectError {}
impl core::error::Error for StreamError {}
impl core::error::Error for DatagramError {}
impl core::error::Error for ResolveError {}
impl core::error::Error for NetError {}

impl From<BusError> for NetError {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<PageError> for NetError {
    fn from(error: PageError) -> Self {
        Self::Pages(error)
    }
}

impl From<EventError> for NetError {
    fn from(error: EventError) -> Self {
        Self::Event(error)
    }
}

impl Error for BindError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidPort => ErrorKind::InvalidInput,
            Self::InUse | Self::NoFreePort => ErrorKind::AddrInUse,
            Self::OutOfMemory => ErrorKind::OutOfMemory,
        }
    }
}

impl Error for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidAddress => ErrorKind::InvalidInput,
            Self::Unreachable => ErrorKind::AddrNotAvailable,
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::NoFreePort => ErrorKind::AddrInUse,
            Self::OutOfMemory => ErrorKind::OutOfMemory,
        }
    }
}

impl Error for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Reset | Self::AddressLost => ErrorKind::ConnectionReset,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Aborted => ErrorKind::ConnectionAborted,
            Self::WriteClosed => ErrorKind::BrokenPipe,
        }
    }
}

impl Error for DatagramError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidAddress | Self::TooLong(_) => ErrorKind::InvalidInput,
            Self::Unreachable => ErrorKind::AddrNotAvailable,
            Self::Truncated(_) => ErrorKind::InvalidData,
        }
    }
}

impl Error for ResolveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoServer | Self::Busy => ErrorKind::Other,
            Self::InvalidName => ErrorKind::InvalidInput,
            Self::NotFound => ErrorKind::NotFound,
        }
    }
}
