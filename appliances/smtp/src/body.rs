//! The message on its way through (RFC 5321 4.5.2, 2.3.8, 4.5.3.1).
//!
//! Client and next hop use the same dot-stuffed form, so the stuffed bytes
//! pass as they are, in runs as long as the input. Only a dot or a CR at the
//! end of a piece of input is held back, until the next byte decides what it
//! means. The scan makes sure that the stream to the next hop holds only lines
//! that end in CRLF, and no end-of-data mark of its own.

use crate::hops::HopCounter;
use crate::ring::Ring;

/// Bytes kept free in the outgoing ring, for a dot or CR that was held back
/// and for the end-of-data mark behind the last line.
pub(crate) const SPARE: usize = 8;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// LF without CR before it, or CR without LF behind it.
    BareLineEnd,
    /// A NUL octet, which neither 7bit nor 8bit data may hold (RFC 2045 2.7, 2.8).
    Nul,
    /// A line of more octets than [`Limits::line`].
    LongLine,
    /// More octets than [`Limits::size`].
    TooLarge,
    /// More `Received:` fields than [`Limits::hops`].
    TooManyHops,
    /// An octet above 127, which the next hop does not take.
    EightBit,
}

/// The limits of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Octets at most, without stuffed dots and with line ends (RFC 1870 5).
    pub(crate) size: u64,
    /// Octets of a line at most, without its CRLF and without a stuffed dot
    /// (RFC 5321 4.5.3.1.6 allows 998).
    pub(crate) line: usize,
    /// `Received:` fields at most in the header section.
    pub(crate) hops: u32,
    /// Whether octets above 127 may pass.
    pub(crate) eight_bit: bool,
}

/// The scan's place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Before the first octet.
    Start,
    /// Behind a dot at the start, which is held back.
    Dot,
    /// Behind a dot and a CR, which are both held back.
    DotCr,
    /// Inside the line.
    Text,
    /// Behind a CR, which is held back.
    Cr,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The input or the room is used up.
    More,
    /// The end-of-data mark was read; it was not forwarded.
    End,
    /// The message has a fault and must not go on.
    Fault(Fault),
}

/// The state of one message.
#[derive(Debug)]
pub(crate) struct Body {
    limits: Limits,
    at: At,
    line: usize,
    size: u64,
    hops: HopCounter,
}

impl Body {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            at: At::Start,
            line: 0,
            size: 0,
            hops: HopCounter::new(),
        }
    }

    /// Returns the octets of the message so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the scan's place in the line, for a drain that follows.
    pub(crate) fn at(&self) -> At {
        self.at
    }

    /// Takes note that an empty line was put in front of the message.
    pub(crate) fn end_header(&mut self) {
        self.hops.end_of_line(true);
    }

    /// Checks `input` and forwards what is decided into `out`, as far as there
    /// is room. Returns how many bytes were consumed. After a fault the body
    /// must not be scanned again.
    pub(crate) fn scan(&mut self, input: &[u8], out: &mut Ring) -> (usize, Outcome) {
        let input = &input[..input.len().min(out.space().saturating_sub(SPARE))];
        // Start of the run that has been checked but not forwarded.
        let mut run = 0;
        let mut here = 0;
        let outcome = loop {
            let rest = &input[here..];
            let Some(&byte) = rest.first() else {
                break Outcome::More;
            };
            match self.at {
                At::Start if byte == b'.' => match rest.get(1) {
                    Some(b'\r' | b'\n') | None => {
                        out.put(&input[run..here]);
                        here += 1;
                        run = here;
                        self.at = At::Dot;
                    }
                    Some(_) => {
                        here += 1;
                        self.at = At::Text;
                    }
                },
                At::Start => self.at = At::Text,
                At::Dot if byte == b'\r' => {
                    here += 1;
                    run = here;
                    self.at = At::DotCr;
                }
                At::Dot => {
                    // A stuffed dot after all; a bare LF behind it is found as
                    // in any text.
                    out.put(b".");
                    self.at = At::Text;
                }
                At::DotCr if byte == b'\n' => {
                    here += 1;
                    run = here;
                    break Outcome::End;
                }
                At::DotCr => break Outcome::Fault(Fault::BareLineEnd),
                At::Text => match self.text(rest) {
                    Ok(Text { len, ended: false }) => here += len,
                    Ok(Text { len, ended: true }) => {
                        here += len;
                        if let Some(b'\n') = input.get(here + 1) {
                            here += 2;
                            if let Err(fault) = self.end_line() {
                                break Outcome::Fault(fault);
                            }
                        } else {
                            out.put(&input[run..here]);
                            here += 1;
                            run = here;
                            self.at = At::Cr;
                        }
                    }
                    Err(fault) => break Outcome::Fault(fault),
                },
                At::Cr if byte == b'\n' => {
                    out.put(b"\r");
                    here += 1;
                    if let Err(fault) = self.end_line() {
                        break Outcome::Fault(fault);
                    }
                }
                At::Cr => break Outcome::Fault(Fault::BareLineEnd),
            }
        };
        if !matches!(outcome, Outcome::Fault(_)) {
            out.put(&input[run..here]);
        }
        (here, outcome)
    }

    /// Checks line content up to its CR or the end of `rest`.
    ///
    /// The window ends one octet behind what line and message may still hold,
    /// so the first fault in the stream is the one reported, however the input
    /// was split.
    fn text(&mut self, rest: &[u8]) -> Result<Text, Fault> {
        let line_room = self.limits.line - self.line;
        let size_room = usize::try_from(self.limits.size - self.size).unwrap_or(usize::MAX);
        let room = line_room.min(size_room);
        let window = &rest[..rest.len().min(room.saturating_add(1))];
        let stop = memchr::memchr3(b'\r', b'\n', 0, window);
        let text = &window[..stop.unwrap_or(window.len().min(room))];
        self.hops.text(text);
        if self.hops.count() > self.limits.hops {
            return Err(Fault::TooManyHops);
        }
        if !self.limits.eight_bit && !text.is_ascii() {
            return Err(Fault::EightBit);
        }
        self.line += text.len();
        self.size += text.len() as u64;
        match stop.map(|at| window[at]) {
            Some(b'\r') => Ok(Text {
                len: text.len(),
                ended: true,
            }),
            Some(b'\n') => Err(Fault::BareLineEnd),
            Some(_) => Err(Fault::Nul),
            None if window.len() <= room => Ok(Text {
                len: text.len(),
                ended: false,
            }),
            None if line_room <= size_room => Err(Fault::LongLine),
            None => Err(Fault::TooLarge),
        }
    }

    fn end_line(&mut self) -> Result<(), Fault> {
        self.hops.end_of_line(self.line == 0);
        self.line = 0;
        self.at = At::Start;
        match self.size.saturating_add(2) > self.limits.size {
            true => Err(Fault::TooLarge),
            false => {
                self.size += 2;
                Ok(())
            }
        }
    }
}

/// A checked piece of a line.
struct Text {
    len: usize,
    /// Whether a CR follows.
    ended: bool,
}

#[cfg(test)]
mod tests;
