//! How a session with the next hop fails, and what the client hears of it:
//! always something temporary, unless the next hop itself refused the message.

use core::fmt;

use crate::replies;
use crate::reply::Reply;

/// Why the session with the next hop ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about.
    NotConnected,
    /// The connection ended.
    Closed,
    /// An answer or room to send did not come in time.
    TimedOut,
    /// What it sent is not SMTP, or not what may come here.
    Protocol,
    /// It refused the session, or the message before it was complete.
    Refused(Reply),
}

impl Failure {
    /// How a client that waits is told.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotConnected => replies::NOT_CONNECTED,
            Self::Closed => replies::HOP_CLOSED,
            Self::TimedOut => replies::HOP_TIMED_OUT,
            Self::Protocol => replies::HOP_BROKE_PROTOCOL,
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
            Self::Refused(reply) => write!(f, "refused: {reply}"),
        }
    }
}
