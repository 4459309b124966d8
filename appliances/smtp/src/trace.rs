//! The trace header (RFC 5321 4.4) and the id that names a message in it.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use crate::address::Mailbox;
use crate::time::UnixTime;

/// The name of a message in the log and in its trace header: time of MAIL,
/// session number, message number within the session, each in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueId {
    pub(crate) time: UnixTime,
    pub(crate) session: u32,
    pub(crate) message: u32,
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            session,
            message,
        } = self;
        write!(f, "{:X}-{session:X}-{message:X}", time.0)
    }
}

/// Longest name of a client in a trace header, in bytes (RFC 5321 4.5.3.1.2).
const NAME_MAX: usize = 255;

/// Makes the name that a client gives itself safe for a structured field: a domain's octets stay,
/// and brackets around the whole; all others become `?`.
pub(crate) fn safe_name(name: &[u8]) -> String {
    let name = &name[..name.len().min(NAME_MAX)];
    let inner = name.strip_prefix(b"[").and_then(|n| n.strip_suffix(b"]"));
    let safe = |&byte: &u8| match byte {
        b'-' | b'.' | b'_' => char::from(byte),
        b':' if inner.is_some() => ':',
        _ if byte.is_ascii_alphanumeric() => char::from(byte),
        _ => '?',
    };
    let text: String = inner.unwrap_or(name).iter().map(safe).collect();
    match inner {
        Some(_) => format!("[{text}]"),
        None => text,
    }
}

/// What the trace header tells about a message.
pub(crate) struct Trace<'a> {
    /// The name the client gave itself, from [`safe_name`].
    pub(crate) helo: &'a str,
    /// Whether it said EHLO.
    pub(crate) extended: bool,
    pub(crate) peer: IpAddr,
    pub(crate) hostname: &'a str,
    pub(crate) id: QueueId,
    /// The recipient, if there is only one: otherwise the header would tell
    /// each of them about the others (RFC 5321 7.2).
    pub(crate) recipient: Option<&'a Mailbox>,
    pub(crate) time: UnixTime,
}

impl Trace<'_> {
    /// Formats the header field with its CRLF; no line begins with a dot.
    pub(crate) fn field(&self) -> String {
        let Self {
            helo,
            hostname,
            id,
            time,
            ..
        } = self;
        let address = match self.peer.to_canonical() {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let protocol = if self.extended { "ESMTP" } else { "SMTP" };
        let recipient = match self.recipient {
            Some(mailbox) => format!("\r\n\tfor <{mailbox}>"),
            None => String::new(),
        };
        format!(
            "Received: from {helo} ({address})\r\n\
             \tby {hostname} (Causeway) with {protocol} id {id}{recipient};\r\n\t{time}\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::parse_path;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn the_field_has_the_form_of_the_rfc() {
        let (mailbox, _) = parse_path(b"<u@example.org>").expect("valid address");
        let mut trace = Trace {
            helo: "mail.example",
            extended: true,
            peer: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
            hostname: "relay.example",
            id: QueueId {
                time: UnixTime(1_795_380_560),
                session: 31,
                message: 2,
            },
            recipient: mailbox.as_ref(),
            time: UnixTime(1_795_380_561),
        };
        assert_eq!(
            trace.field(),
            "Received: from mail.example ([192.0.2.9])\r\n\
             \tby relay.example (Causeway) with ESMTP id 6B035550-1F-2\r\n\
             \tfor <u@example.org>;\r\n\
             \tSun, 22 Nov 2026 20:49:21 +0000\r\n"
        );
        trace.extended = false;
        trace.recipient = None;
        trace.peer = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let field = trace.field();
        assert!(field.contains("([IPv6:::1])"), "{field}");
        assert!(field.contains("with SMTP id 6B035550-1F-2;\r\n"), "{field}");
    }
}
