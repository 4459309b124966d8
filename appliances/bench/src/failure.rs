//! Why an order was not carried out.

use core::fmt;
use kernel::event::EventError;
use netstack::{BindError, ConnectError, DatagramError, StreamError};

/// What went wrong with a measurement.
#[derive(Debug)]
pub(crate) enum Failure {
    Connect(ConnectError),
    Bind(BindError),
    Stream(StreamError),
    Datagram(DatagramError),
    Event(EventError),
    /// No event channel was opened.
    NoBell,
    /// The peer closed its side at this byte.
    EndedAt(u64),
    /// This byte of the stream differs from the one sent.
    CorruptAt(u64),
    /// More came back than was sent.
    Surplus(u64),
    /// As many connections are held as may be.
    TooMany(usize),
    /// It took longer than any order may.
    TimedOut,
}

impl Failure {
    /// Names the kind of failure for programs; the first word of an answer's text.
    fn kind(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::Refused) => "refused",
            Self::Connect(_) => "connect",
            Self::Bind(_) => "socket",
            Self::Stream(_) => "stream",
            Self::Datagram(_) => "datagram",
            Self::Event(_) => "event-channel",
            Self::NoBell => "no-bell",
            Self::EndedAt(_) => "ended",
            Self::CorruptAt(_) => "corrupt",
            Self::Surplus(_) => "surplus",
            Self::TooMany(_) => "too-many",
            Self::TimedOut => "timed-out",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Stream(error) => error.fmt(f),
            Self::Datagram(error) => error.fmt(f),
            Self::Event(error) => error.fmt(f),
            Self::NoBell => f.write_str("no event channel is open: bell-open comes first"),
            Self::EndedAt(offset) => write!(f, "the peer's stream ended at byte {offset}"),
            Self::CorruptAt(offset) => write!(f, "byte {offset} is not the one that was sent"),
            Self::Surplus(offset) => write!(f, "more came back than was sent: byte {offset}"),
            Self::TooMany(most) => write!(f, "{most} connections are held, the most possible"),
            Self::TimedOut => f.write_str("it took too long"),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        Self::Event(error)
    }
}

impl From<DatagramError> for Failure {
    fn from(error: DatagramError) -> Self {
        Self::Datagram(error)
    }
}
