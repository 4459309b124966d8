//! Replies to the client: code, enhanced status code, text (RFC 5321 4.2,
//! RFC 2034, RFC 3463).

use alloc::borrow::Cow;
use alloc::format;
use core::fmt;

use crate::ring::Ring;

/// Bytes that must be free in the client's queue before a command is executed:
/// more than any answer (the longest, to EHLO, holds one domain of 255 bytes)
/// and a closing 421 after it.
pub(crate) const REPLY_ROOM: usize = 1024;

/// Longest reply text in bytes, so that a reply line stays within the
/// 512 bytes of RFC 5321 4.5.3.1.5.
pub(crate) const TEXT_MAX: usize = 480;

/// An enhanced status code `class.subject.detail` (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8, pub u16, pub u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Status {
    /// Splits off a status code at the front of `text`, where RFC 2034 puts it,
    /// from the text behind it. Returns `None` if there is no status code, or
    /// if its class is not that of the reply's `code`.
    pub(crate) fn split(code: u16, text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = word.split('.').map(|part| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || class != code / 100 {
            return None;
        }
        Some((Self(u8::try_from(class).ok()?, subject, detail), rest))
    }
}

/// One single-line reply to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit reply code.
    pub code: u16,
    /// The enhanced status code sent behind it.
    pub status: Status,
    /// Printable ASCII, at most 480 bytes.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// Makes a reply with a constant text.
    pub(crate) const fn fixed(code: u16, status: (u8, u16, u16), text: &'static str) -> Self {
        Self {
            code,
            status: Status(status.0, status.1, status.2),
            text: Cow::Borrowed(text),
        }
    }

    /// Whether the reply says yes.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Queues the reply; the caller has checked that [`REPLY_ROOM`] bytes are free.
    pub(crate) fn send(&self, out: &mut Ring) {
        out.put(format!("{self}\r\n").as_bytes());
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.status, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line() {
        let mut out = Ring::new(REPLY_ROOM);
        Reply::fixed(250, (2, 1, 5), "Recipient ok").send(&mut out);
        assert_eq!(out.front(), b"250 2.1.5 Recipient ok\r\n");
    }

    #[test]
    fn status_codes_are_found_only_where_they_are_meant() {
        let ok = Status::split(550, "5.1.1 no such user");
        assert_eq!(ok, Some((Status(5, 1, 1), "no such user")));
        assert_eq!(Status::split(550, "5.7.999"), Some((Status(5, 7, 999), "")));
        for text in [
            "4.1.1 other class",
            "5.1 short",
            "5.1.1.1 long",
            "5..1 x",
            "5.1.1000 x",
            "5.1.+1 x",
            "55.1.1 x",
            "no such user",
            "",
        ] {
            assert_eq!(Status::split(550, text), None, "{text}");
        }
    }
}
