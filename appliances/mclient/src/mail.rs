//! A message with one attached file (RFC 2045, RFC 2183), made while it is sent.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo::pattern::PERIOD;

/// Bytes of the file in one line of base64, which is then 76 characters long (RFC 2045 6.8).
const LINE_BYTES: usize = 57;

/// Lines made at a time.
const LINES: usize = 64;

/// The file of mail number `m` is the pattern from byte `m * STEP` on.
const STEP: u64 = 4099;

/// A message, piece by piece.
pub(crate) struct Mail {
    head: String,
    tail: &'static str,
    /// The offset in the pattern at which the file begins.
    start: u64,
    /// Bytes of the file that have been made.
    made: u64,
    /// Bytes of the whole file.
    size: u64,
    piece: Vec<u8>,
    taken: usize,
    stage: Stage,
}

enum Stage {
    Head,
    File,
    Tail,
    End,
}

impl Mail {
    /// Makes mail number `number`, with a file of `size` bytes.
    pub(crate) fn new(sender: &str, recipient: &str, number: u64, size: u64) -> Self {
        // X-Lab-Mail tells a receiver which mail it is.
        let head = format!(
            "From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: mail {number}\r\n\
             X-Lab-Mail: mclient-{number}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"next\"\r\n\r\n\
             --next\r\nContent-Type: text/plain\r\n\r\nOne file is attached.\r\n\
             --next\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=\"file-{number}\"\r\n\
             Content-Transfer-Encoding: BASE64\r\n\r\n"
        );
        Self {
            head,
            tail: "--next--\r\n",
            start: number * STEP,
            made: 0,
            size,
            piece: Vec::new(),
            taken: 0,
            stage: Stage::Head,
        }
    }

    /// Returns the size of the whole message in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let line = LINE_BYTES as u64;
        let (full, rest) = (self.size / line, self.size % line);
        let last = if rest == 0 {
            0
        } else {
            rest.div_ceil(3) * 4 + 2
        };
        self.head.len() as u64 + full * 78 + last + self.tail.len() as u64
    }

    /// Returns the next bytes, or none at the end. `pattern` is that of [`pattern`].
    pub(crate) fn front(&mut self, pattern: &[u8]) -> &[u8] {
        while self.taken == self.piece.len() && !matches!(self.stage, Stage::End) {
            self.piece.clear();
            self.taken = 0;
            self.next_piece(pattern);
        }
        &self.piece[self.taken..]
    }

    /// Takes `count` bytes off [`Self::front`].
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = self.piece.len().min(self.taken + count);
    }

    fn next_piece(&mut self, pattern: &[u8]) {
        match self.stage {
            Stage::Head => {
                self.piece.extend_from_slice(self.head.as_bytes());
                self.stage = Stage::File;
            }
            Stage::File if self.made == self.size => {
                self.piece.extend_from_slice(self.tail.as_bytes());
                self.stage = Stage::Tail;
            }
            Stage::File => {
                for _ in 0..LINES {
                    self.line(pattern);
                }
            }
            Stage::Tail | Stage::End => self.stage = Stage::End,
        }
    }

    fn line(&mut self, pattern: &[u8]) {
        let len = (self.size - self.made).min(LINE_BYTES as u64) as usize;
        if len == 0 {
            return;
        }
        let at = ((self.start + self.made) % PERIOD as u64) as usize;
        let mut text = [0; 76];
        let encoded = STANDARD
            .encode_slice(&pattern[at..at + len], &mut text)
            .expect("57 bytes become 76 characters at most");
        self.piece.extend_from_slice(&text[..encoded]);
        self.piece.extend_from_slice(b"\r\n");
        self.made += len as u64;
    }
}

/// Returns the pattern, long enough for any line of the file to be one piece of it.
pub(crate) fn pattern() -> Vec<u8> {
    echo::pattern::repeated(PERIOD + LINE_BYTES)
}
