//! What a relay session asks of its driver, and what it tells the log.

use core::fmt;
use core::time::Duration;

use crate::address::Mailbox;
use crate::client::Failure;
use crate::reply::Reply;
use crate::trace::QueueId;

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to the next hop, then report
    /// [`HopEvent::Connected`] or [`HopEvent::ConnectFailed`].
    ConnectHop,
    /// Drop the connection to the next hop, even if it is still being opened.
    /// Nothing is left to be sent, and nothing more need be reported about it.
    CloseHop,
    /// Close the client's connection; all replies have been sent.
    CloseClient,
    /// Write a line to the log.
    Log(Log),
}

/// What happened to the connection to the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopEvent {
    /// It is open.
    Connected,
    /// It could not be opened.
    ConnectFailed,
    /// The next hop closed or reset it.
    Closed,
}

/// What a session waits for; displays as the log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The client's next command.
    ClientCommand,
    /// The next piece of message, from the client or to the next hop.
    Message,
    /// The connection to the next hop.
    HopConnect,
    /// The next hop's greeting.
    HopGreeting,
    /// The next hop's answer to a command.
    HopCommand,
    /// The next hop's answer to DATA.
    HopData,
    /// The next hop's answer to the final dot.
    HopFinal,
    /// The end of both connections.
    Closing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientCommand => "a command of the client",
            Self::Message => "message data",
            Self::HopConnect => "the connection to the next hop",
            Self::HopGreeting => "the greeting of the next hop",
            Self::HopCommand => "an answer of the next hop",
            Self::HopData => "the answer of the next hop to DATA",
            Self::HopFinal => "the answer of the next hop to the message",
            Self::Closing => "the connections to close",
        })
    }
}

/// How long the present wait may last. The timer restarts whenever `phase` or
/// `round` differ from those of the timer that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub phase: Phase,
    /// Changes with every progress: a command, a reply, 512 bytes of message.
    pub round: u32,
    /// When to call [`Relay::timed_out`](super::Relay::timed_out), from the
    /// start of the timer.
    pub limit: Duration,
}

/// An event for the log; displays as one line of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The next hop answered a recipient.
    Recipient {
        /// The message.
        id: QueueId,
        /// To whom.
        recipient: Mailbox,
        /// What the client was told.
        reply: Reply,
    },
    /// The next hop took the message, as the client is told.
    Delivered {
        /// The message.
        id: QueueId,
        /// From whom; `None` is the null sender.
        sender: Option<Mailbox>,
        /// How many recipients the next hop has taken.
        recipients: usize,
        /// Octets of the message without the trace header.
        bytes: u64,
        /// What the next hop said.
        reply: Reply,
    },
    /// The message was not taken, as the client is told.
    Refused {
        /// The message.
        id: QueueId,
        /// What the client was told.
        reply: Reply,
    },
    /// The client left before its message was complete; nothing of it was
    /// delivered.
    Abandoned {
        /// The message.
        id: QueueId,
    },
    /// The session with the next hop ended early.
    HopFailed(Failure),
    /// The client was too slow.
    ClientTimedOut(Phase),
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipient {
                id,
                recipient,
                reply,
            } => write!(f, "{id}: to=<{recipient}> {reply}"),
            Self::Delivered {
                id,
                sender,
                recipients,
                bytes,
                reply,
            } => {
                write!(f, "{id}: delivered from=<")?;
                if let Some(sender) = sender {
                    write!(f, "{sender}")?;
                }
                write!(f, "> recipients={recipients} bytes={bytes}: {reply}")
            }
            Self::Refused { id, reply } => write!(f, "{id}: refused: {reply}"),
            Self::Abandoned { id } => write!(f, "{id}: the client left before the end"),
            Self::HopFailed(failure) => write!(f, "next hop: {failure}"),
            Self::ClientTimedOut(phase) => write!(f, "timed out waiting for {phase}"),
        }
    }
}
