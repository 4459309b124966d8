//! How messages name and describe the ring of one direction.

use crate::ring::Geometry;

/// Numbers that a link has for the rings of each side.
pub const RING_NUMBERS: usize = 512;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Number of a ring on its link, 0 to 511; each side numbers the rings it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingNumber(u16);

impl RingNumber {
    /// Returns `None` if `number` is beyond the last ring number.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < RING_NUMBERS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Converts an index of a table of rings.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        u16::try_from(index).ok().and_then(Self::new)
    }

    /// Returns the number as it stands in a message.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Size of a ring's data: a power of two of pages, 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingSize(u8);

impl RingSize {
    /// The largest size that a message can describe: 1 MiB.
    pub const LARGEST: Self = Self(8);

    /// Returns `None` if 2^`log2` pages are more than a message can describe.
    #[must_use]
    pub const fn from_log2(log2: u8) -> Option<Self> {
        if log2 <= Self::LARGEST.0 {
            Some(Self(log2))
        } else {
            None
        }
    }

    /// Returns the largest size of at most `bytes`, one page at least.
    #[must_use]
    pub fn within(bytes: usize) -> Self {
        let log2 = (bytes / PAGE).max(1).ilog2();
        u8::try_from(log2).map_or(Self::LARGEST, |log2| Self(log2).min(Self::LARGEST))
    }

    /// Returns this size times 2^`log2`, the largest size at most.
    #[must_use]
    pub fn times_pow2(self, log2: u8) -> Self {
        Self(self.0.saturating_add(log2)).min(Self::LARGEST)
    }

    /// Returns the binary logarithm of the number of data pages.
    #[must_use]
    pub const fn log2(self) -> u8 {
        self.0
    }

    /// Returns the number of pages with the header page.
    #[must_use]
    pub const fn pages(self) -> usize {
        1 + (1 << self.0)
    }

    /// Returns where the parts of such a ring lie in its memory.
    #[must_use]
    pub const fn geometry(self) -> Geometry {
        Geometry {
            header: 0,
            data: PAGE,
            capacity: PAGE << self.0,
        }
    }
}

/// Grant references as bytes, 4 each, the header page's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct References<'a>(pub &'a [u8]);

impl References<'_> {
    /// Returns the references one by one.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let words = self.0.as_chunks::<4>().0.iter();
        words.map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Whether there is one reference for each page of a ring.
    #[must_use]
    pub const fn cover(self, size: RingSize) -> bool {
        self.0.len() == 4 * size.pages()
    }

    /// Whether there is no reference at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::RingSize;

    #[test]
    fn sizes_are_rounded_down_and_bounded() {
        let log2 = |bytes| RingSize::within(bytes).log2();
        assert_eq!([log2(0), log2(4096), log2(8191), log2(8192)], [0, 0, 0, 1]);
        assert_eq!([log2(1 << 20), log2(1 << 30), log2(usize::MAX)], [8, 8, 8]);
        let first = RingSize::within(16 * 1024);
        assert_eq!(first.pages(), 5);
        assert_eq!(first.times_pow2(2).log2(), 4);
        assert_eq!(first.times_pow2(255), RingSize::LARGEST);
    }
}
