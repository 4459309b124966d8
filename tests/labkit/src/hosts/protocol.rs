//! Requests to the second host's agent and its answers: one line of JSON each, one pair for each
//! connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::list::Entry;
use crate::meter::StreamReport;

/// The longest line either side reads, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The most text of a console or of `xl` in an answer, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 64 * 1024;

/// A request to the second host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Asks for its hypervisor's version.
    Hello,
    /// Starts one `xl migrate-receive` behind a port of its own.
    Receive {
        /// The longest the migration may take, from now.
        limit_s: u64,
        /// The fault to inject.
        fault: Option<Fault>,
    },
    /// Starts a receiver of a save file behind a port of its own, which then runs `xl restore`.
    Restore {
        /// The longest both may take, from now.
        limit_s: u64,
        /// The file's size.
        bytes: u64,
    },
    /// Waits until the receiver at this port has ended.
    Received {
        /// The port.
        port: u16,
    },
    /// Migrates a domain to the receiver at an address.
    Send {
        /// The domain's name.
        domain: String,
        /// The receiver's address.
        to: SocketAddr,
        /// The longest it may take.
        limit_s: u64,
    },
    /// Asks for the rows of `xl list`.
    Domains,
    /// Asks for what a domain has printed on this host.
    Console {
        /// The domain's name.
        domain: String,
    },
    /// Destroys every domain but dom0.
    DestroyAll,
    /// Hands in the logs and powers off.
    PowerOff,
}

/// A fault at the receiver in mid-stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The number of bytes of the stream before it.
    pub after_bytes: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// The ways in which a target can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// `xl migrate-receive` is killed: the source's connection is closed.
    Killed,
    /// The host falls silent, as after a power loss: nothing is closed or refused.
    Silent {
        /// For how long, in seconds.
        seconds: u64,
    },
}

/// How a receiver ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether `xl migrate-receive` or `xl restore` succeeded.
    pub ok: bool,
    /// How many bytes of the stream or file it was given.
    pub bytes: u64,
    /// The last lines it printed.
    pub text: String,
}

/// How a sender ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Whether `xl migrate` succeeded.
    pub ok: bool,
    /// How long it ran, in milliseconds.
    pub took_ms: f64,
    /// The meter's report, if there is one.
    pub stream: Option<StreamReport>,
    /// The last lines it printed.
    pub text: String,
}

/// An answer of the second host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// To [`Request::Hello`].
    Hello {
        /// Its hypervisor's version.
        xen: String,
    },
    /// To [`Request::Receive`] and [`Request::Restore`].
    Receiving {
        /// Where the receiver listens.
        port: u16,
    },
    /// To [`Request::Received`].
    Received(Receipt),
    /// To [`Request::Send`].
    Sent(Box<Sent>),
    /// To [`Request::Domains`].
    Domains(Vec<Entry>),
    /// To [`Request::Console`]: the last of it.
    Console(String),
    /// The request was carried out; there is nothing to report.
    Done,
    /// The request failed, and why.
    Failed(String),
}

/// Sends one line.
pub(super) fn write_line(stream: &mut TcpStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("a message")?;
    line.push(b'\n');
    stream.write_all(&line).context("sending")
}

/// Reads one line. The stream's own time-out is its deadline.
pub(super) fn read_line<T: DeserializeOwned>(stream: &TcpStream) -> Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream)
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)
        .context("reading")?;
    if line.last() != Some(&b'\n') {
        bail!("the line ended after {} bytes", line.len());
    }
    serde_json::from_slice(&line).context("not a message")
}

/// Returns the end of `text` that fits into an answer.
pub(super) fn bounded(text: &str) -> String {
    let from = text.len().saturating_sub(MAX_TEXT_BYTES);
    text[text.ceil_char_boundary(from)..].to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{Answer, Fault, FaultKind, Request, bounded, read_line, write_line};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let client = TcpStream::connect(address).expect("it listens");
        (client, listener.accept().expect("one client").0)
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let (mut client, server) = pair();
        let request = Request::Receive {
            limit_s: 60,
            fault: Some(Fault {
                after_bytes: 10,
                kind: FaultKind::Silent { seconds: 3 },
            }),
        };
        write_line(&mut client, &request).expect("sent");
        assert_eq!(read_line::<Request>(&server).expect("whole"), request);
    }

    #[test]
    fn half_a_line_and_nonsense_are_refused() {
        use std::io::Write;
        for bytes in [&b"\"hello\""[..], b"\"unheard of\"\n", b"", b"{}\n"] {
            let (mut client, server) = pair();
            client.write_all(bytes).expect("sent");
            drop(client);
            assert!(read_line::<Request>(&server).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_long_text_keeps_its_end() {
        let text = "ä".repeat(60_000) + "end";
        let kept = bounded(&text);
        assert!(kept.len() <= super::MAX_TEXT_BYTES && kept.ends_with("end"));
        let (mut client, server) = pair();
        // Every byte as JSON's longest escape still fits into a line.
        let worst = "\u{1}".repeat(super::MAX_TEXT_BYTES);
        write_line(&mut client, &Answer::Console(worst.clone())).ok();
        assert!(matches!(read_line(&server), Ok(Answer::Console(text)) if text == worst));
    }
}
