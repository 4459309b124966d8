//! The first line of a message, which stands right behind our trace field.
//!
//! If it is no header field it would become part of ours: a line that begins with white space
//! continues the field before it (RFC 5322 2.2.3), and parsers disagree about any other. An empty
//! line between the two ends the header section, as Postfix does it.

use alloc::vec::Vec;

use crate::body::{At, Body, Outcome};
use crate::ring::Ring;

/// Longest name of a field in bytes, white space behind it included: as long as a line may be
/// (RFC 5322 2.1.1). Longer ones do not count as fields.
const NAME_MAX: usize = 998;

/// Where the judgement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first octet.
    Start,
    /// Behind a dot, which is stuffed or the beginning of the end-of-data mark.
    Dot,
    /// In the name of a field.
    Name,
    /// In the white space that old syntax allows behind the name (RFC 5322 4.5).
    Space,
    /// Decided; the message goes straight to its [`Body`].
    Decided,
}

/// What the first line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// A field, an empty line, or the end of an empty message.
    Joins,
    /// Anything else.
    Apart,
}

/// Holds the message back until it is known whether its first line is a field.
#[derive(Debug)]
pub(crate) struct Opening {
    place: Place,
    /// At most [`NAME_MAX`] octets and a dot.
    held: Vec<u8>,
}

impl Opening {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Start,
            held: Vec::new(),
        }
    }

    /// Returns the place in the line of what has been read, for a drain that follows.
    pub(crate) fn at(&self, body: &Body) -> At {
        match self.place {
            Place::Start | Place::Decided => body.at(),
            Place::Dot => At::Dot,
            Place::Name | Place::Space => At::Text,
        }
    }

    /// Does what [`Body::scan`] does, with the empty line in front if the message needs one. The
    /// ring has room for that and for everything held, because nothing but the trace field is in
    /// it before the message.
    pub(crate) fn scan(
        &mut self,
        body: &mut Body,
        input: &[u8],
        out: &mut Ring,
    ) -> (usize, Outcome) {
        if self.place == Place::Decided {
            return body.scan(input, out);
        }
        let mut taken = 0;
        let first = loop {
            let Some(&byte) = input.get(taken) else {
                return (taken, Outcome::More);
            };
            if let Some(first) = self.judge(byte) {
                break first;
            }
            self.held.push(byte);
            taken += 1;
        };
        self.place = Place::Decided;
        if first == First::Apart {
            out.put(b"\r\n");
            body.end_header();
        }
        let held = core::mem::take(&mut self.held);
        match body.scan(&held, out) {
            (_, Outcome::More) => {
                let (more, outcome) = body.scan(&input[taken..], out);
                (taken + more, outcome)
            }
            (_, outcome) => (taken, outcome),
        }
    }

    /// Looks at the next octet; decides, or moves on.
    fn judge(&mut self, byte: u8) -> Option<First> {
        // The octets of a field's name (RFC 5322 3.6.8).
        let name = matches!(byte, 33..=126) && byte != b':';
        let blank = byte == b' ' || byte == b'\t';
        self.place = match self.place {
            Place::Start if byte == b'.' => Place::Dot,
            Place::Start | Place::Dot if byte == b'\r' || byte == b'\n' => {
                return Some(First::Joins);
            }
            Place::Start | Place::Dot | Place::Name if name => Place::Name,
            Place::Name | Place::Space if byte == b':' => return Some(First::Joins),
            Place::Name | Place::Space if blank => Place::Space,
            _ => return Some(First::Apart),
        };
        (self.held.len() > NAME_MAX).then_some(First::Apart)
    }
}
