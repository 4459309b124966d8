//! Reads over the rest of a message that has been refused, up to its end, so
//! that the reply reaches the client when it expects one (RFC 5321 4.2.5).
//!
//! Nothing read here is passed on. If the line ends are doubtful, client and
//! relay may disagree where the message ends; then the end-of-data mark is
//! taken in its widest sense, because nothing behind it is read any more: the
//! session closes after the reply, so nothing can be smuggled.

use crate::body::At;

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// The end has not been seen yet.
    More,
    /// The end of the message has been read.
    End,
    /// The client sends more than is worth reading.
    TooMuch,
}

/// Follows a refused message to its end.
#[derive(Debug)]
pub(crate) struct Drain {
    at: At,
    /// Octets that may still come.
    left: u64,
    doubtful: bool,
}

impl Drain {
    /// Makes a drain of at most `left` octets that begins where the scan of the
    /// body stopped, before the octet at fault.
    pub(crate) fn new(at: At, left: u64) -> Self {
        Self {
            at,
            left,
            doubtful: false,
        }
    }

    /// Whether a bare CR or LF was seen, so that the session cannot go on.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Returns the octets that may still come; decreases as input is read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Reads on; returns how much was consumed.
    pub(crate) fn read(&mut self, input: &[u8]) -> (usize, Drained) {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let window = &input[..input.len().min(room)];
        let mut here = 0;
        let mut drained = Drained::More;
        while let (Some(&byte), Drained::More) = (window.get(here), drained) {
            match (self.at, byte) {
                (At::Start, b'.') => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, b'\n') => drained = Drained::End,
                (At::Dot, b'\n') => {
                    self.doubtful = true;
                    drained = Drained::End;
                }
                (At::Cr, b'\n') => self.at = At::Start,
                (At::Cr | At::DotCr, _) => {
                    self.doubtful = true;
                    self.at = At::Text;
                    continue;
                }
                (At::Start | At::Dot | At::Text, _) => {
                    match memchr::memchr2(b'\r', b'\n', &window[here..]) {
                        None => {
                            self.at = At::Text;
                            here = window.len();
                            break;
                        }
                        Some(skip) => {
                            here += skip;
                            self.at = At::Cr;
                            if window[here] == b'\n' {
                                self.doubtful = true;
                                self.at = At::Start;
                            }
                        }
                    }
                }
            }
            here += 1;
        }
        self.left -= here as u64;
        if self.left == 0 && drained == Drained::More {
            drained = Drained::TooMuch;
        }
        (here, drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(input: &[u8], step: usize) -> (usize, Drained, bool) {
        let mut drain = Drain::new(At::Text, 1000);
        let mut at = 0;
        loop {
            let piece = &input[at..input.len().min(at + step)];
            let (taken, drained) = drain.read(piece);
            at += taken;
            if drained != Drained::More || at == input.len() {
                return (at, drained, drain.is_doubtful());
            }
        }
    }

    #[test]
    fn the_end_is_found_in_every_split() {
        for (input, end, doubtful) in [
            ("x\r\n.\r\nQUIT\r\n", Some(6), false),
            (".\r\n.\r\n", Some(6), false),
            ("\r\n..\r\n.x\r\n.\r\n", Some(13), false),
            ("x\n.\r\nQUIT", Some(5), true),
            ("x\r\n.\nQUIT", Some(5), true),
            ("x\n.\nQUIT", Some(4), true),
            ("x\ry\r\n.\r\n", Some(8), true),
            ("x\r\r\n.\r\n", Some(7), true),
            ("x\r\n.\r.\r\n.\r\n", Some(11), true),
            ("x\r\n.", None, false),
        ] {
            for step in 1..=input.len() {
                let (at, drained, seen) = drain(input.as_bytes(), step);
                let expected = match end {
                    Some(_) => Drained::End,
                    None => Drained::More,
                };
                assert_eq!(drained, expected, "{input:?} in steps of {step}");
                assert_eq!(at, end.unwrap_or(input.len()), "{input:?}");
                assert_eq!(seen, doubtful, "{input:?}");
            }
        }
    }

    #[test]
    fn a_message_without_end_is_given_up() {
        let mut drain = Drain::new(At::Start, 10);
        assert_eq!(drain.read(b"1234567"), (7, Drained::More));
        assert_eq!(drain.read(b"1234567"), (3, Drained::TooMuch));
    }
}
