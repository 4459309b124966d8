//! What the control port understands: one line, one order.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::str::{FromStr, SplitWhitespace};
use core::time::Duration;

use kernel::DomId;

/// Bytes of one write, or of one question.
const WRITE: RangeInclusive<u64> = 1..=1 << 20;
/// Bytes of a whole stream.
const TOTAL: RangeInclusive<u64> = 1..=1 << 40;
/// Rounds of a ping-pong.
const ROUNDS: RangeInclusive<u64> = 1..=10_000_000;
/// Connections in a row; each answer is kept.
const CONNECTIONS: RangeInclusive<u64> = 1..=256;
/// Bytes of a datagram: what one packet carries.
const DATAGRAM: RangeInclusive<u64> = 1..=1472;
/// A domain's number: those above name no domain (`xen.h`, DOMID_FIRST_RESERVED).
const DOMAIN: RangeInclusive<u64> = 0..=0x7fef;
/// An event channel's port: as many as the 2-level interface has.
const PORT: RangeInclusive<u64> = 1..=4095;
/// Microseconds between two writes.
const PAUSE: RangeInclusive<u64> = 0..=1_000_000;

/// What is to be done. Each is answered by one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Writes of `write` bytes to a discard service until `total` are sent.
    Stream {
        peer: SocketAddr,
        write: usize,
        total: u64,
    },
    /// The pattern to an echo service, every byte compared on its way back, with a pause behind
    /// each write.
    Verify {
        peer: SocketAddr,
        write: usize,
        total: u64,
        pause: Duration,
    },
    /// `rounds` questions of `size` bytes to an echo service, one after the other.
    PingPong {
        peer: SocketAddr,
        size: usize,
        rounds: u64,
    },
    /// `count` connections to an echo service, each until a byte has come back.
    Connect { peer: SocketAddr, count: u64 },
    /// `rounds` datagrams of `size` bytes to an echo service, one after the other.
    Udp {
        peer: SocketAddr,
        size: usize,
        rounds: u64,
    },
    /// `count` connections more to an echo service that stay open, without traffic.
    Hold { peer: SocketAddr, count: u64 },
    /// An event channel that domain `peer` may bind.
    OpenBell { peer: DomId },
    /// Event for event an answer, on port `port` of domain `peer`.
    AnswerBell { peer: DomId, port: u32 },
    /// `rounds` events and their answers, one after the other, on the channel that was opened.
    RingBell { rounds: u64 },
    /// The end of all that are held, after a byte has come back on each.
    Release,
    /// How many bytes have been compared, by the guest's clock, and the longest time without any
    /// since this was asked last.
    Flow,
    /// What the guest has counted.
    Counters,
    /// The end of every `verify` under way.
    Stop,
}

/// What is wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderError {
    Unknown(String),
    Usage(&'static str),
    Peer(String),
    Number(&'static str, String, RangeInclusive<u64>),
}

impl OrderError {
    /// Names the kind of error for programs; the first word of an answer's text.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "no-order",
            Self::Usage(_) => "usage",
            Self::Peer(_) => "no-address",
            Self::Number(..) => "no-number",
        }
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        match self {
            Self::Unknown(word) => write!(
                f,
                "no order is called {word:?}: stream, verify, pingpong, connect, udp, hold, release, \
                 bell-open, bell-answer, bell, flow, counters, stop are"
            ),
            Self::Usage(usage) => write!(f, "the order is: {usage}"),
            Self::Peer(text) => write!(f, "{text:?} is not ADDRESS:PORT"),
            Self::Number(what, text, range) => write!(
                f,
                "{what}: {text:?} is not a number from {} to {}",
                range.start(),
                range.end()
            ),
        }
    }
}

/// The words of one order.
struct Words<'a> {
    words: SplitWhitespace<'a>,
    usage: &'static str,
}

impl Words<'_> {
    fn word(&mut self) -> Result<&str, OrderError> {
        self.words.next().ok_or(OrderError::Usage(self.usage))
    }

    fn peer(&mut self) -> Result<SocketAddr, OrderError> {
        let word = self.word()?;
        word.parse().map_err(|_| OrderError::Peer(word.to_string()))
    }

    fn number(
        &mut self,
        what: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<u64, OrderError> {
        let word = self.word()?;
        match word.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(OrderError::Number(what, word.to_string(), range)),
        }
    }

    fn size(
        &mut self,
        what: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<usize, OrderError> {
        // Every range of sizes ends far below what a usize holds.
        self.number(what, range).map(|number| number as usize)
    }

    fn domain(&mut self) -> Result<DomId, OrderError> {
        // The range ends within what a domain's number holds.
        self.number("DOMID", DOMAIN).map(|number| number as DomId)
    }

    fn end(mut self) -> Result<(), OrderError> {
        match self.words.next() {
            None => Ok(()),
            Some(_) => Err(OrderError::Usage(self.usage)),
        }
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(line: &str) -> Result<Self, OrderError> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let usage = match name {
            "stream" => "stream PEER:PORT WRITE_BYTES TOTAL_BYTES",
            "verify" => "verify PEER:PORT WRITE_BYTES TOTAL_BYTES PAUSE_US",
            "pingpong" => "pingpong PEER:PORT BYTES ROUNDS",
            "connect" => "connect PEER:PORT COUNT",
            "udp" => "udp PEER:PORT BYTES ROUNDS",
            "hold" => "hold PEER:PORT COUNT",
            "bell-open" => "bell-open DOMID",
            "bell-answer" => "bell-answer DOMID PORT",
            "bell" => "bell ROUNDS",
            "release" => "release",
            "flow" => "flow",
            "counters" => "counters",
            "stop" => "stop",
            other => return Err(OrderError::Unknown(other.to_string())),
        };
        let mut words = Words { words, usage };
        let order = match name {
            "stream" => Self::Stream {
                peer: words.peer()?,
                write: words.size("WRITE_BYTES", WRITE)?,
                total: words.number("TOTAL_BYTES", TOTAL)?,
            },
            "verify" => Self::Verify {
                peer: words.peer()?,
                write: words.size("WRITE_BYTES", WRITE)?,
                total: words.number("TOTAL_BYTES", TOTAL)?,
                pause: Duration::from_micros(words.number("PAUSE_US", PAUSE)?),
            },
            "pingpong" => Self::PingPong {
                peer: words.peer()?,
                size: words.size("BYTES", WRITE)?,
                rounds: words.number("ROUNDS", ROUNDS)?,
            },
            "connect" => Self::Connect {
                peer: words.peer()?,
                count: words.number("COUNT", CONNECTIONS)?,
            },
            "udp" => Self::Udp {
                peer: words.peer()?,
                size: words.size("BYTES", DATAGRAM)?,
                rounds: words.number("ROUNDS", ROUNDS)?,
            },
            "hold" => Self::Hold {
                peer: words.peer()?,
                count: words.number("COUNT", CONNECTIONS)?,
            },
            "bell-open" => Self::OpenBell {
                peer: words.domain()?,
            },
            "bell-answer" => Self::AnswerBell {
                peer: words.domain()?,
                port: words.number("PORT", PORT)? as u32,
            },
            "bell" => Self::RingBell {
                rounds: words.number("ROUNDS", ROUNDS)?,
            },
            "release" => Self::Release,
            "flow" => Self::Flow,
            "stop" => Self::Stop,
            _ => Self::Counters,
        };
        words.end()?;
        Ok(order)
    }
}
