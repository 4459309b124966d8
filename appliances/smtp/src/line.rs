//! Collecting one command line from input that may be split anywhere.

use alloc::vec::Vec;

use crate::command::LONGEST_LINE;

/// Bytes without a line end after which a client is not taken for one that
/// speaks SMTP; the end of the line is not waited for.
const OVERFLOW_MAX: usize = 16 * 1024;

/// What a piece of input completed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// No line yet.
    Partial,
    /// A line, without its CRLF.
    Complete(Vec<u8>),
    /// The beginning of a line longer than any command; it was skipped up to its CRLF.
    TooLong(Vec<u8>),
    /// A line that ended in LF without CR. Accepting that as a line end would
    /// let commands be smuggled (RFC 5321 2.3.8), so the session ends.
    BareLf,
    /// More bytes without a line end than any client sends.
    Endless,
}

/// Collects bytes up to a CRLF, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    bytes: Vec<u8>,
    dropped: usize,
    last: Option<u8>,
}

impl LineReader {
    /// Returns the first byte of the line that is being collected.
    pub(crate) fn first(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// Takes input up to and including the first LF; returns how much.
    pub(crate) fn read(&mut self, input: &[u8]) -> (usize, Line) {
        let (taken, ended) = match memchr::memchr(b'\n', input) {
            Some(at) => (at + 1, true),
            None => (input.len(), false),
        };
        let body = &input[..taken - usize::from(ended)];
        let kept = body.len().min(LONGEST_LINE - self.bytes.len());
        self.bytes.extend_from_slice(&body[..kept]);
        self.dropped += body.len() - kept;
        self.last = body.last().copied().or(self.last);
        (taken, self.judge(ended))
    }

    fn judge(&mut self, ended: bool) -> Line {
        if self.dropped > OVERFLOW_MAX {
            return Line::Endless;
        }
        if !ended {
            return Line::Partial;
        }
        let Self {
            mut bytes,
            dropped,
            last,
        } = core::mem::take(self);
        if last != Some(b'\r') {
            return Line::BareLf;
        }
        if dropped > 0 {
            return Line::TooLong(bytes);
        }
        bytes.pop();
        Line::Complete(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn read_all(input: &[u8], step: usize) -> Vec<Line> {
        let mut reader = LineReader::default();
        let mut lines = Vec::new();
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                let (taken, line) = reader.read(piece);
                piece = &piece[taken..];
                if line != Line::Partial {
                    lines.push(line);
                }
            }
        }
        lines
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let mut input = b"EHLO x\r\n\r\na\rb\r\nbare\n\n".to_vec();
        input.extend_from_slice(&[b'y'; LONGEST_LINE]);
        input.extend_from_slice(b"\r\nlast\r\n");
        let expected = vec![
            Line::Complete(b"EHLO x".to_vec()),
            Line::Complete(Vec::new()),
            Line::Complete(b"a\rb".to_vec()),
            Line::BareLf,
            Line::BareLf,
            Line::TooLong(vec![b'y'; LONGEST_LINE]),
            Line::Complete(b"last".to_vec()),
        ];
        for step in 1..input.len() {
            assert_eq!(read_all(&input, step), expected, "step {step}");
        }
    }

    #[test]
    fn the_longest_line_passes_and_memory_is_bounded() {
        let mut input = vec![b'y'; LONGEST_LINE - 2];
        input.extend_from_slice(b"\r\n");
        let (_, line) = LineReader::default().read(&input);
        assert_eq!(line, Line::Complete(vec![b'y'; LONGEST_LINE - 2]));

        let mut reader = LineReader::default();
        let mut line = Line::Partial;
        for _ in 0..20 {
            line = reader.read(&[b'z'; 1024]).1;
            assert!(reader.bytes.len() <= LONGEST_LINE);
        }
        assert_eq!(line, Line::Endless);
    }
}
