//! Endless seeded bytes: the receiver makes the same bytes as the sender and compares.
//!
//! Comparing every byte is stronger than comparing hashes, costs less under emulation, and names
//! the first byte that differs.

use std::fmt;

/// How many bytes must agree to find a piece in the stream.
const SAMPLE_BYTES: usize = 12;

/// A stream of pseudo-random bytes, determined by its seed.
#[derive(Clone, Debug)]
pub struct Pattern {
    random: fastrand::Rng,
    block: [u8; 256],
    used: usize,
}

impl Pattern {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            block: [0; 256],
            used: 256,
        }
    }

    /// Fills `buffer` with the next bytes of the stream.
    pub fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            if self.used == self.block.len() {
                self.random.fill(&mut self.block);
                self.used = 0;
            }
            let count = buffer.len().min(self.block.len() - self.used);
            buffer[..count].copy_from_slice(&self.block[self.used..self.used + count]);
            self.used += count;
            buffer = &mut buffer[count..];
        }
    }
}

/// Compares what arrives with a [`Pattern`].
#[derive(Debug)]
pub struct Checker {
    seed: u64,
    expected: Pattern,
    offset: u64,
    scratch: Vec<u8>,
}

/// The first place where a stream differs from what was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The byte's offset in the stream.
    pub offset: u64,
    /// What was sent.
    pub expected: u8,
    /// What arrived.
    pub found: u8,
    /// The offset in the stream at which the bytes that arrived belong, if anywhere: it tells a
    /// lost, repeated or exchanged piece from a damaged one.
    pub from: Option<u64>,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "corrupt at byte {}: {:#04x} instead of {:#04x}",
            self.offset, self.found, self.expected
        )?;
        match self.from {
            Some(from) => write!(f, ", the bytes there belong to offset {from}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Corrupt {}

impl Checker {
    /// A checker for the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            expected: Pattern::new(seed),
            offset: 0,
            scratch: Vec::new(),
        }
    }

    /// Returns how many bytes have been correct.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Compares the next bytes of the stream.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), Corrupt> {
        self.scratch.resize(bytes.len(), 0);
        self.expected.fill(&mut self.scratch);
        if self.scratch == bytes {
            self.offset += bytes.len() as u64;
            return Ok(());
        }
        let pairs = self.scratch.iter().zip(bytes);
        let right = pairs.take_while(|(a, b)| a == b).count();
        Err(Corrupt {
            offset: self.offset + right as u64,
            expected: self.scratch[right],
            found: bytes[right],
            from: self.origin(&bytes[right..]),
        })
    }

    /// Returns the first offset at which the stream has the beginning of `bytes`, up to a mebibyte
    /// beyond the expected one.
    fn origin(&self, bytes: &[u8]) -> Option<u64> {
        let wanted = bytes.get(..SAMPLE_BYTES)?;
        let end = self.offset + (1 << 20);
        let mut stream = Pattern::new(self.seed);
        let mut window = vec![0; 1 << 16];
        let mut start = 0;
        stream.fill(&mut window);
        while start < end {
            if let Some(at) = window
                .windows(SAMPLE_BYTES)
                .position(|bytes| bytes == wanted)
            {
                return Some(start + at as u64);
            }
            // The windows overlap, so that no offset is missed.
            let keep = window.len() - (SAMPLE_BYTES - 1);
            window.copy_within(keep.., 0);
            stream.fill(&mut window[SAMPLE_BYTES - 1..]);
            start += keep as u64;
        }
        None
    }
}

/// Counts all bytes of a stream that differ from its [`Pattern`], not only the first.
#[derive(Debug)]
pub struct Tally {
    checker: Checker,
    first: Option<Corrupt>,
}

impl Tally {
    /// A tally for the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            checker: Checker::new(seed),
            first: None,
        }
    }

    /// Compares the next bytes and returns how many of them are wrong.
    pub fn count(&mut self, bytes: &[u8]) -> u64 {
        if self.first.is_none() {
            match self.checker.check(bytes) {
                Ok(()) => return 0,
                // The search for the bytes' origin takes long, so it is made once.
                Err(corrupt) => self.first = Some(corrupt),
            }
        } else {
            self.checker.scratch.resize(bytes.len(), 0);
            self.checker.expected.fill(&mut self.checker.scratch);
        }
        let pairs = self.checker.scratch.iter().zip(bytes);
        pairs.filter(|(expected, found)| expected != found).count() as u64
    }

    /// Returns the first difference.
    pub fn first(&self) -> Option<&Corrupt> {
        self.first.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::{Checker, Pattern, Tally};

    #[test]
    fn the_pattern_does_not_depend_on_the_pieces() {
        let mut whole = vec![0; 1000];
        Pattern::new(7).fill(&mut whole);
        let mut pieces = Pattern::new(7);
        let mut checker = Checker::new(7);
        for length in [1, 2, 300, 697] {
            let mut piece = vec![0; length];
            pieces.fill(&mut piece);
            checker.check(&piece).expect("the same stream");
        }
        let mut again = vec![0; 1000];
        Pattern::new(7).fill(&mut again);
        assert_eq!(whole, again);
        assert_eq!(checker.offset(), 1000);
    }

    #[test]
    fn a_misplaced_piece_is_recognised() {
        let mut bytes = vec![0; 400_000];
        Pattern::new(1).fill(&mut bytes);
        let mut checker = Checker::new(1);
        checker.check(&bytes[..100_000]).expect("right so far");
        let corrupt = checker
            .check(&bytes[365_536..])
            .expect_err("a piece is missing");
        assert_eq!((corrupt.offset, corrupt.from), (100_000, Some(365_536)));
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        let mut bytes = vec![0; 500];
        Pattern::new(1).fill(&mut bytes);
        bytes[300] ^= 1;
        let mut checker = Checker::new(1);
        checker.check(&bytes[..200]).expect("right so far");
        let corrupt = checker.check(&bytes[200..]).expect_err("one bit is wrong");
        assert_eq!(corrupt.offset, 300);
        assert_eq!(corrupt.found, corrupt.expected ^ 1);
        assert_eq!(corrupt.from, None);
    }

    #[test]
    fn a_tally_counts_on_after_the_first_wrong_byte() {
        let mut bytes = vec![0; 900];
        Pattern::new(1).fill(&mut bytes);
        let mut tally = Tally::new(1);
        assert_eq!(tally.count(&bytes[..300]), 0);
        for at in [400, 599, 850] {
            bytes[at] ^= 1;
        }
        assert_eq!(tally.count(&bytes[300..600]), 2);
        assert_eq!(tally.count(&bytes[600..]), 1);
        assert_eq!(tally.first().map(|first| first.offset), Some(400));
    }
}
