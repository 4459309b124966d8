//! The byte pattern of port 19: the byte at stream offset `n` is `(n + n / 251) mod 256`. 251 is
//! prime, so a piece of the stream that is shifted, lost or repeated never looks right.

use alloc::vec::Vec;

/// Bytes after which the pattern repeats.
pub const PERIOD: usize = 251 * 256;

/// Returns one period of the pattern.
#[must_use]
pub fn period() -> Vec<u8> {
    repeated(PERIOD)
}

/// Returns the first `len` bytes of the pattern, over as many periods as that takes.
#[must_use]
pub fn repeated(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n + n / 251) as u8).collect()
}
