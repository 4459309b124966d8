//! Counting the hops a message has made (RFC 5321 6.3): one `Received:` field
//! per hop, in the header section, which ends at the first empty line.

const FIELD: &[u8] = b"received:";

/// Follows the header section line by line, in pieces of any size.
#[derive(Debug)]
pub(crate) struct HopCounter {
    count: u32,
    /// How many bytes of [`FIELD`] the present line has matched; `None` if it
    /// is another field, or the field has been counted.
    matched: Option<usize>,
    in_header: bool,
}

impl HopCounter {
    pub(crate) fn new() -> Self {
        Self {
            count: 0,
            matched: Some(0),
            in_header: true,
        }
    }

    /// Returns the number of hops seen so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Takes the next bytes of the present line, without stuffed dots.
    #[inline]
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        if let (true, Some(matched)) = (self.in_header, self.matched) {
            self.compare(matched, bytes);
        }
    }

    fn compare(&mut self, matched: usize, bytes: &[u8]) {
        let wanted = &FIELD[matched..];
        let common = wanted.len().min(bytes.len());
        let equal = bytes[..common].eq_ignore_ascii_case(&wanted[..common]);
        let field_complete = equal && common == wanted.len();
        self.count = self.count.saturating_add(u32::from(field_complete));
        self.matched = (equal && !field_complete).then_some(matched + common);
    }

    /// Takes note that the present line has ended; `empty` if it had no bytes.
    #[inline]
    pub(crate) fn end_of_line(&mut self, empty: bool) {
        self.in_header &= !empty;
        self.matched = Some(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str], step: usize) -> u32 {
        let mut hops = HopCounter::new();
        for line in lines {
            for piece in line.as_bytes().chunks(step) {
                hops.text(piece);
            }
            hops.end_of_line(line.is_empty());
        }
        hops.count()
    }

    #[test]
    fn only_received_fields_of_the_header_count() {
        let lines = [
            "Received: from a by b; received: in its text",
            "  received: a folded line",
            "RECEIVED:x",
            "Received-SPF: pass",
            "X-Received: no",
            "Receive",
            "Subject: Received: no",
            "received:",
            "",
            "Received: in the body",
        ];
        for step in 1..20 {
            assert_eq!(count(&lines, step), 3, "step {step}");
        }
    }
}
