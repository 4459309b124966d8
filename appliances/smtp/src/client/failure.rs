//! How a session with the next hop fails. The client gets a temporary error,
//! unless the next hop itself refused the message, or is this relay.

use core::fmt;

use crate::replies;
use crate::reply::Reply;

/// Why the session with the next hop ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection could not be opened.
    NotConnected,
    /// The connection ended.
    Closed,
    /// An answer, or room to send, did not come in time.
    TimedOut,
    /// The next hop sent what is not SMTP, or not allowed at this point.
    Protocol,
    /// The next hop is the relay itself, or the client that the mail came from.
    LoopsBack,
    /// There is no memory for what the next hop is to be sent.
    NoMemory,
    /// The next hop refused the session, or the message before its end.
    Refused(Reply),
}

impl Failure {
    /// Returns the reply to a client that waits.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotConnected => replies::NOT_CONNECTED,
            Self::Closed => replies::HOP_CLOSED,
            Self::TimedOut => replies::HOP_TIMED_OUT,
            Self::Protocol => replies::HOP_BROKE_PROTOCOL,
            Self::LoopsBack => replies::LOOPS_BACK,
            Self::NoMemory => replies::NO_MEMORY,
            Self::Refused(reply) => reply.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("no connection"),
            Self::Closed => f.write_str("connection closed"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Protocol => f.write_str("protocol broken"),
            Self::LoopsBack => f.write_str("mail loops back, it leads to this relay"),
            Self::NoMemory => f.write_str("the relay has no memory for what it sends"),
            Self::Refused(reply) => write!(f, "refused: {reply}"),
        }
    }
}
