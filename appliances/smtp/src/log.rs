//! What a session tells the log: one line for each refusal, and one for what became of each mail.
//!
//! Every line names the client, and the mail if there is one. What comes from outside is printable
//! ASCII, and where a field ends is not for a mailbox to say.

use alloc::string::String;
use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::address::Mailbox;
use crate::client::Failure;
use crate::relay::Phase;
use crate::reply::Reply;
use crate::trace::QueueId;

/// Bytes of a command line that are shown.
const EXCERPT: usize = 120;

/// Whom a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The client's address.
    pub client: IpAddr,
    /// The name that the client gave itself, made safe; `None` before HELO.
    pub helo: Option<String>,
    /// The mail, from MAIL on.
    pub mail: Option<Announced>,
    /// The recipient in question, or the first one that the next hop has taken.
    pub recipient: Option<Mailbox>,
}

/// A mail as its sender announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its name here and in the trace header.
    pub id: QueueId,
    /// From whom; `None` is the null sender.
    pub sender: Option<Mailbox>,
}

/// An event for the log; displays as one line of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The relay itself refused a command.
    Denied {
        /// Whom it concerns.
        about: About,
        /// The beginning of the command's line, escaped.
        command: String,
        /// What the client was told.
        reply: Reply,
    },
    /// The next hop answered a recipient.
    Recipient {
        /// The mail.
        about: About,
        /// What the client was told.
        reply: Reply,
    },
    /// The next hop took the message, as the client is told.
    Delivered {
        /// The mail.
        about: About,
        /// How many recipients the next hop has taken.
        recipients: usize,
        /// Octets of the message without the trace header.
        bytes: u64,
        /// What the next hop said.
        reply: Reply,
    },
    /// The mail was not taken, as the client was told; it may try again if the reply says so.
    Refused {
        /// The mail.
        about: About,
        /// What the client was told.
        reply: Reply,
    },
    /// The client dropped its mail or left before it was complete; nothing of it was delivered.
    Abandoned {
        /// The mail.
        about: About,
    },
    /// The session with the next hop ended early.
    HopFailed {
        /// The mail that it hit, if any.
        about: About,
        /// How.
        failure: Failure,
        /// Whether the mail goes on over a new connection.
        again: bool,
    },
    /// The client was too slow.
    ClientTimedOut {
        /// The client.
        about: About,
        /// What was waited for.
        phase: Phase,
    },
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop took it.
    Delivered,
    /// It was refused for good.
    Refused,
    /// It was refused for now.
    Deferred,
}

impl Log {
    /// Returns what became of a mail, if this is the last line about it and its client was told.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Delivered { .. } => Some(Outcome::Delivered),
            Self::Refused { reply, .. } if reply.code >= 500 => Some(Outcome::Refused),
            Self::Refused { .. } => Some(Outcome::Deferred),
            _ => None,
        }
    }

    /// Whether an operator should look at it: the next hop failed a mail.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::HopFailed { about, again: false, .. } if about.mail.is_some())
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied {
                about,
                command,
                reply,
            } => write!(f, "{about}: denied \"{command}\": {reply}"),
            Self::Recipient { about, reply } => write!(f, "{about}: {reply}"),
            Self::Delivered {
                about,
                recipients,
                bytes,
                reply,
            } => write!(
                f,
                "{about}: delivered recipients={recipients} bytes={bytes}: {reply}"
            ),
            Self::Refused { about, reply } => write!(f, "{about}: refused: {reply}"),
            Self::Abandoned { about } => write!(f, "{about}: the client left before the end"),
            Self::HopFailed {
                about,
                failure,
                again,
            } => {
                let then = if *again { ", connecting again" } else { "" };
                write!(f, "{about}: next hop: {failure}{then}")
            }
            Self::ClientTimedOut { about, phase } => {
                write!(f, "{about}: timed out waiting for {phase}")
            }
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Announced { id, .. }) = &self.mail {
            write!(f, "{id}: ")?;
        }
        write!(f, "client=[{}]", self.client.to_canonical())?;
        if let Some(helo) = &self.helo {
            write!(f, " helo=<{helo}>")?;
        }
        if let Some(Announced { sender, .. }) = &self.mail {
            f.write_str(" from=<")?;
            if let Some(sender) = sender {
                mailbox(f, sender)?;
            }
            f.write_str(">")?;
        }
        if let Some(recipient) = &self.recipient {
            f.write_str(" to=<")?;
            mailbox(f, recipient)?;
            f.write_str(">")?;
        }
        Ok(())
    }
}

/// Writes a mailbox so that no quoted string in it can end its field.
fn mailbox(f: &mut fmt::Formatter<'_>, mailbox: &Mailbox) -> fmt::Result {
    let bytes = [mailbox.local().as_bytes(), b"@"];
    let domain = mailbox.domain();
    let bytes = if domain.is_some() {
        &bytes[..]
    } else {
        &bytes[..1]
    };
    let local = bytes.iter().copied().flatten();
    for &byte in local.chain(domain.unwrap_or_default().as_bytes()) {
        escape(f, byte, b" <>\\")?;
    }
    Ok(())
}

/// Returns the beginning of `line` as it is shown between quotes.
pub(crate) fn excerpt(line: &[u8]) -> String {
    let mut text = String::new();
    for &byte in line.iter().take(EXCERPT) {
        // Writing to a String cannot fail.
        let _ = escape(&mut text, byte, b"\"\\");
    }
    if line.len() > EXCERPT {
        text.push_str("...");
    }
    text
}

fn escape(f: &mut impl Write, byte: u8, special: &[u8]) -> fmt::Result {
    match byte {
        b' '..=b'~' if !special.contains(&byte) => f.write_char(char::from(byte)),
        _ => write!(f, "\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;
    use alloc::string::ToString;
    use core::net::Ipv4Addr;

    #[test]
    fn a_line_names_client_and_mail() {
        let mut about = About {
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            helo: None,
            mail: None,
            recipient: None,
        };
        assert_eq!(about.to_string(), "client=[192.0.2.1]");
        about.helo = Some("c.test".into());
        about.mail = Some(Announced {
            id: QueueId {
                time: UnixTime(16),
                session: 2,
                message: 3,
            },
            sender: None,
        });
        about.recipient = Mailbox::parse("\"a> to=<b\"@c.test");
        assert_eq!(
            about.to_string(),
            "10-2-3: client=[192.0.2.1] helo=<c.test> from=<> to=<\"a\\x3e\\x20to=\\x3cb\"@c.test>"
        );
    }

    #[test]
    fn an_excerpt_stays_between_its_quotes() {
        assert_eq!(
            excerpt(b"a\"b\\ \x1b\xe9\r"),
            "a\\x22b\\x5c \\x1b\\xe9\\x0d"
        );
        assert_eq!(excerpt(&[b'x'; 300]).len(), EXCERPT + 3);
    }
}
