//! The orders that the control port takes, one a line.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::str::{FromStr, SplitWhitespace};
use core::time::Duration;

use kernel::DomId;

/// Bytes of a write, or of a question.
const WRITE: RangeInclusive<u64> = 1..=1 << 20;
/// Bytes of a whole stream.
const TOTAL: RangeInclusive<u64> = 1..=1 << 40;
/// Rounds of a ping-pong.
const ROUNDS: RangeInclusive<u64> = 1..=10_000_000;
/// Connections in a row; the figure of each is kept until the end.
const CONNECTIONS: RangeInclusive<u64> = 1..=256;
/// Bytes of a datagram, up to what one packet carries.
const DATAGRAM: RangeInclusive<u64> = 1..=1472;
/// Numbers that can name a domain (`xen.h`, `DOMID_FIRST_RESERVED`).
const DOMAIN: RangeInclusive<u64> = 0..=0x7fef;
/// Ports of event channels, as many as the 2-level interface has.
const PORT: RangeInclusive<u64> = 1..=4095;
/// Microseconds between two writes.
const PAUSE: RangeInclusive<u64> = 0..=1_000_000;

/// An order. Each is answered by one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Writes `write` bytes at a time to a discard service until `total` bytes are sent.
    Stream {
        peer: SocketAddr,
        write: usize,
        total: u64,
    },
    /// Sends the pattern to an echo service, with a pause after each write, and compares every byte
    /// that comes back.
    Verify {
        peer: SocketAddr,
        write: usize,
        total: u64,
        pause: Duration,
    },
    /// Puts `rounds` questions of `size` bytes to an echo service, one after the other.
    PingPong {
        peer: SocketAddr,
        size: usize,
        rounds: u64,
    },
    /// Opens `count` connections to an echo service, each until a byte has come back.
    Connect { peer: SocketAddr, count: u64 },
    /// Sends `rounds` datagrams of `size` bytes to an echo service, one after the other.
    Udp {
        peer: SocketAddr,
        size: usize,
        rounds: u64,
    },
    /// Opens `count` more connections to an echo service, which stay open without traffic.
    Hold { peer: SocketAddr, count: u64 },
    /// Makes an event channel that domain `peer` may bind.
    OpenBell { peer: DomId },
    /// Answers event after event on port `port` of domain `peer`.
    AnswerBell { peer: DomId, port: u32 },
    /// Exchanges `rounds` events and their answers on the channel that was opened.
    RingBell { rounds: u64 },
    /// Makes `rounds` hypercalls that copy nothing, and as many that copy an answer of 48 bytes.
    Hypercalls { rounds: u64 },
    /// Closes all connections that are held, after a byte has come back on each.
    Release,
    /// Reports how many bytes have been compared, by the guest's clock, and the longest time
    /// without any since the last such report.
    Flow,
    /// Reports what the guest has counted.
    Counters,
    /// Ends every `verify` under way.
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
                 bell-open, bell-answer, bell, hypercalls, flow, counters, stop are"
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

/// The words of one order, behind its name.
struct Words<'a> {
    words: SplitWhitespace<'a>,
    /// How the order is written, for error messages.
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
        // Every range of sizes ends far below `usize::MAX`.
        self.number(what, range).map(|number| number as usize)
    }

    fn domain(&mut self) -> Result<DomId, OrderError> {
        // The range ends below `DomId::MAX`.
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
        let mut words = Words { words, usage: "" };
        let order = match name {
            "stream" => {
                words.usage = "stream PEER:PORT WRITE_BYTES TOTAL_BYTES";
                Self::Stream {
                    peer: words.peer()?,
                    write: words.size("WRITE_BYTES", WRITE)?,
                    total: words.number("TOTAL_BYTES", TOTAL)?,
                }
            }
            "verify" => {
                words.usage = "verify PEER:PORT WRITE_BYTES TOTAL_BYTES PAUSE_US";
                Self::Verify {
                    peer: words.peer()?,
                    write: words.size("WRITE_BYTES", WRITE)?,
                    total: words.number("TOTAL_BYTES", TOTAL)?,
                    pause: Duration::from_micros(words.number("PAUSE_US", PAUSE)?),
                }
            }
            "pingpong" => {
                words.usage = "pingpong PEER:PORT BYTES ROUNDS";
                Self::PingPong {
                    peer: words.peer()?,
                    size: words.size("BYTES", WRITE)?,
                    rounds: words.number("ROUNDS", ROUNDS)?,
                }
            }
            "connect" => {
                words.usage = "connect PEER:PORT COUNT";
                Self::Connect {
                    peer: words.peer()?,
                    count: words.number("COUNT", CONNECTIONS)?,
                }
            }
            "udp" => {
                words.usage = "udp PEER:PORT BYTES ROUNDS";
                Self::Udp {
                    peer: words.peer()?,
                    size: words.size("BYTES", DATAGRAM)?,
                    rounds: words.number("ROUNDS", ROUNDS)?,
                }
            }
            "hold" => {
                words.usage = "hold PEER:PORT COUNT";
                Self::Hold {
                    peer: words.peer()?,
                    count: words.number("COUNT", CONNECTIONS)?,
                }
            }
            "bell-open" => {
                words.usage = "bell-open DOMID";
                Self::OpenBell {
                    peer: words.domain()?,
                }
            }
            "bell-answer" => {
                words.usage = "bell-answer DOMID PORT";
                Self::AnswerBell {
                    peer: words.domain()?,
                    port: words.number("PORT", PORT)? as u32,
                }
            }
            "bell" => {
                words.usage = "bell ROUNDS";
                Self::RingBell {
                    rounds: words.number("ROUNDS", ROUNDS)?,
                }
            }
            "hypercalls" => {
                words.usage = "hypercalls ROUNDS";
                Self::Hypercalls {
                    rounds: words.number("ROUNDS", ROUNDS)?,
                }
            }
            "release" => {
                words.usage = "release";
                Self::Release
            }
            "flow" => {
                words.usage = "flow";
                Self::Flow
            }
            "stop" => {
                words.usage = "stop";
                Self::Stop
            }
            "counters" => {
                words.usage = "counters";
                Self::Counters
            }
            other => return Err(OrderError::Unknown(other.to_string())),
        };
        words.end()?;
        Ok(order)
    }
}
