//! The report to the host: one JSON object per text line, from any thread.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::protocol::{Line, MAX_LINE_BYTES, Outcome};

/// The most bytes of text in one line. JSON writes a control byte as up to six bytes (`\u001b`),
/// and the object around the text is small.
const PIECE_BYTES: usize = MAX_LINE_BYTES / 8;

/// A sink for report lines. Clones write to the same place, a line at a time.
#[derive(Clone)]
pub struct Report {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}

impl Report {
    /// A report that goes to `out`.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Arc::new(Mutex::new(Box::new(out))),
        }
    }

    /// Sends one line. An error goes to standard error: there is nobody else to report it to, and
    /// the missing `done` line shows the host that something is wrong.
    pub fn send(&self, line: &Line) {
        let mut text = match serde_json::to_string(line) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("agent: a line cannot be written: {error}");
                return;
            }
        };
        text.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            eprintln!("agent: the report cannot be written: {error}");
        }
    }

    /// Sends a line for the reader's log.
    pub fn log(&self, text: impl Into<String>) {
        self.send(&Line::Log { text: text.into() });
    }

    /// Reports the beginning of a new part.
    pub fn phase(&self, text: impl Into<String>) {
        self.send(&Line::Phase { text: text.into() });
    }

    /// Sends a file to be kept beside the result, in as many pieces as it needs.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for piece in pieces(&text) {
            self.send(&Line::File {
                name: name.to_owned(),
                text: piece.to_owned(),
            });
        }
    }

    /// Reports the end of a case.
    pub fn case(&self, name: &str, outcome: Outcome, detail: impl Into<String>) {
        self.send(&Line::Case {
            name: name.to_owned(),
            outcome,
            detail: detail.into(),
        });
    }

    /// Reports the scenario's result.
    pub fn result(&self, value: Map<String, Value>) {
        self.send(&Line::Result { value });
    }
}

/// Splits `text` at character boundaries; an empty text is one empty piece.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > PIECE_BYTES {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::{PIECE_BYTES, pieces};

    #[test]
    fn long_texts_are_split_and_keep_every_character() {
        let text = "ä".repeat(PIECE_BYTES);
        let parts = pieces(&text);
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.len() <= PIECE_BYTES));
        assert_eq!(parts.concat(), text);
        assert_eq!(pieces(""), [""]);
    }
}
