//! Reading a server's replies (RFC 5321 4.2) in bounded memory.
//!
//! The next hop is not trusted: a line may be split anywhere, be far too long,
//! hold any bytes, and never end.

use alloc::borrow::Cow;
use alloc::string::String;

use crate::replies;
use crate::reply::{Reply, Status, TEXT_MAX};

/// Bytes of a line that are looked at (RFC 5321 4.5.3.1.5 allows 512).
const LINE_KEPT: usize = 512;
/// Most bytes of one reply; real ones are far shorter.
const REPLY_MAX: usize = 16 * 1024;
/// Most lines of one reply, with the noise before and in it.
const LINES_MAX: u32 = 128;

/// What the next hop offers (RFC 5321 4.1.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    /// SIZE: the largest message in bytes; `Some(0)` means no fixed limit.
    pub(crate) size: Option<u64>,
    /// 8BITMIME.
    pub(crate) eight_bit: bool,
}

impl Offers {
    fn line(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        let keyword = words.next().unwrap_or_default();
        if keyword.eq_ignore_ascii_case("8BITMIME") {
            self.eight_bit = true;
        } else if keyword.eq_ignore_ascii_case("SIZE") {
            let size = words.next().and_then(|size| size.parse().ok());
            self.size = Some(size.unwrap_or(0));
        }
    }
}

/// A complete reply of the next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// From 200 to 599.
    pub(crate) code: u16,
    status: Option<Status>,
    /// All lines joined by spaces: printable ASCII of bounded length.
    text: String,
    /// What the lines offer if this is the answer to EHLO.
    pub(crate) offers: Offers,
}

impl Answer {
    /// Returns the first word of the text: in a greeting, the name of the next hop.
    pub(crate) fn name(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Returns the first digit.
    pub(crate) fn class(&self) -> u16 {
        self.code / 100
    }

    /// Turns the answer into a reply to the client. 421 would tell the client
    /// that its own session ends, so it becomes 451.
    pub(crate) fn pass_on(self) -> Reply {
        let class = u8::try_from(self.class()).unwrap_or(4);
        let text = match self.text.is_empty() {
            false => Cow::Owned(self.text),
            true => Cow::Borrowed(replies::SAID_BY_HOP),
        };
        Reply {
            code: if self.code == 421 { 451 } else { self.code },
            status: self.status.unwrap_or(Status(class, 0, 0)),
            text,
        }
    }

    /// Turns a refusal of the session, and not of the mail, into a reply to the
    /// client, which may try again whatever the code was.
    pub(crate) fn pass_on_as_temporary(self) -> Reply {
        let status = match self.status {
            Some(status) if status.0 == 4 => status,
            _ => Status(4, 3, 2),
        };
        Reply {
            code: 451,
            status,
            ..self.pass_on()
        }
    }
}

/// The input is not an SMTP reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// Collects one reply after another.
#[derive(Debug, Default)]
pub(crate) struct AnswerReader {
    line: String,
    bytes: usize,
    lines: u32,
    answer: Option<Answer>,
}

impl AnswerReader {
    /// Takes input up to the end of a line. Returns how much was taken, and the
    /// reply if that line was its last. `skips_noise` passes over lines that cannot belong to the
    /// answer to a message, and lets the last line decide if the codes differ.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        skips_noise: bool,
    ) -> (usize, Result<Option<Answer>, Garbage>) {
        let end = memchr::memchr(b'\n', input);
        let taken = end.map_or(input.len(), |at| at + 1);
        self.bytes += taken;
        if self.bytes > REPLY_MAX {
            return (taken, Err(Garbage));
        }
        let content = &input[..end.unwrap_or(input.len())];
        let room = LINE_KEPT.saturating_sub(self.line.len());
        self.line
            .extend(content.iter().take(room).map(|&byte| match byte {
                b' '..=b'~' => char::from(byte),
                // CR before LF is trimmed below as white space.
                b'\r' | b'\t' => ' ',
                _ => '?',
            }));
        match end {
            None => (taken, Ok(None)),
            Some(_) => (taken, self.end_line(skips_noise)),
        }
    }

    fn end_line(&mut self, skips_noise: bool) -> Result<Option<Answer>, Garbage> {
        let line = core::mem::take(&mut self.line);
        self.lines += 1;
        let Some(Line { code, last, text }) = Line::parse(&line, skips_noise) else {
            return match skips_noise && self.lines < LINES_MAX {
                true => Ok(None),
                false => Err(Garbage),
            };
        };
        let status = Status::split(code, text);
        let answer = match &mut self.answer {
            // All lines must have the same code (RFC 5321 4.2.1).
            Some(answer) if answer.code != code && !skips_noise => return Err(Garbage),
            Some(answer) => {
                if answer.code != code {
                    answer.code = code;
                    answer.status = status.map(|(status, _)| status);
                }
                answer.offers.line(text);
                answer
            }
            None => self.answer.insert(Answer {
                code,
                status: status.map(|(status, _)| status),
                text: String::new(),
                offers: Offers::default(),
            }),
        };
        let text = status.map_or(text, |(_, rest)| rest.trim_start());
        let separator = if answer.text.is_empty() { "" } else { " " };
        let room = TEXT_MAX.saturating_sub(answer.text.len());
        let cut = separator.chars().chain(text.chars()).take(room);
        answer.text.extend(cut);
        if last {
            return Ok(core::mem::take(self).answer);
        }
        match self.lines < LINES_MAX {
            true => Ok(None),
            false => Err(Garbage),
        }
    }
}

/// One line of a reply.
struct Line<'a> {
    code: u16,
    /// Whether it is the reply's last line.
    last: bool,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Parses a line; `final_only` allows only codes that can answer a message.
    fn parse(line: &'a str, final_only: bool) -> Option<Self> {
        let (digits, rest) = line.split_at_checked(3)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let code: u16 = digits.parse().ok()?;
        if !(200..600).contains(&code) || (final_only && code / 100 == 3) {
            return None;
        }
        let last = match rest.as_bytes().first() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return None,
        };
        let text = rest.get(1..).unwrap_or_default().trim();
        Some(Self { code, last, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn read(input: &[u8], step: usize) -> Result<Option<Answer>, Garbage> {
        let mut reader = AnswerReader::default();
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                let (taken, answer) = reader.read(piece, false);
                piece = &piece[taken..];
                if answer != Ok(None) {
                    return answer;
                }
                assert!(reader.line.len() <= LINE_KEPT);
            }
        }
        Ok(None)
    }

    fn passed_on(input: &str) -> String {
        let answer = read(input.as_bytes(), 1000)
            .expect("valid")
            .expect("complete");
        answer.pass_on().to_string()
    }

    #[test]
    fn replies_are_passed_on_with_code_and_text() {
        for (input, expected) in [
            ("550 5.1.1 No such user\r\n", "550 5.1.1 No such user"),
            ("550 No such user\r\n", "550 5.0.0 No such user"),
            ("451 5.1.1 wrong class\n", "451 4.0.0 5.1.1 wrong class"),
            ("552\r\n", "552 5.0.0 Said by the next hop"),
            ("550-5.7.1 one\r\n550 5.7.1 two\r\n", "550 5.7.1 one two"),
            ("421 4.3.2 Going down\r\n", "451 4.3.2 Going down"),
            ("250 2.0.0 Ok: queued as 7\r\n", "250 2.0.0 Ok: queued as 7"),
            ("554 b\u{1}l\u{e9}\tx\r\n", "554 5.0.0 b?l?? x"),
        ] {
            assert_eq!(passed_on(input), expected, "{input:?}");
        }
    }

    #[test]
    fn session_refusals_become_temporary() {
        for (input, expected) in [
            ("554 5.7.1 Go away\r\n", "451 4.3.2 Go away"),
            ("421 4.7.0 Slow down\r\n", "451 4.7.0 Slow down"),
        ] {
            let answer = read(input.as_bytes(), 1).expect("valid").expect("complete");
            assert_eq!(answer.pass_on_as_temporary().to_string(), expected);
        }
    }

    #[test]
    fn offers_are_read_in_every_split() {
        let input =
            b"250-size 5 8BITMIME is only a greeting\r\n250-SIZE 35882577\r\n250 8bitmime\r\n";
        for step in 1..=input.len() {
            let answer = read(input, step).expect("valid").expect("complete");
            let offers = Offers {
                size: Some(35_882_577),
                eight_bit: true,
            };
            assert_eq!(answer.offers, offers, "step {step}");
        }
    }

    #[test]
    fn garbage_is_recognised_and_bounded() {
        let lines = "250-x\r\n".repeat(128);
        let endless = "2".repeat(REPLY_MAX + 1);
        for input in [
            "\r\n",
            "25\r\n",
            "hello world\r\n",
            "250x\r\n",
            "199 low\r\n",
            "600 high\r\n",
            "+50 x\r\n",
            "250-a\r\n251 b\r\n",
            "\u{e9}\u{e9}\r\n",
            &lines,
            &endless,
        ] {
            assert_eq!(read(input.as_bytes(), 100), Err(Garbage), "{input:?}");
        }
        let long = format!("550 {}\r\n", "w".repeat(5000));
        assert!(passed_on(&long).len() <= TEXT_MAX + 10);
    }
}
