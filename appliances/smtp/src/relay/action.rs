//! What a relay session asks of its driver.

use core::fmt;
use core::time::Duration;

use crate::log::Log;

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
    /// It was not opened, because the next hop's address is the relay's own.
    LoopsBack,
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
    /// Changes with every progress: a command, a reply, 512 bytes of message on its way.
    pub round: u32,
    /// When to call [`Relay::timed_out`](super::Relay::timed_out), from the
    /// start of the timer. While a timer runs it is not set anew.
    pub limit: Duration,
}
