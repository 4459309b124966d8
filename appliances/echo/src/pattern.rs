//! The byte pattern of port 19: at stream offset `n` stands `(n + n / 251) mod 256`. 251 is prime,
//! so no piece of the stream that is shifted, lost or repeated looks right.

use alloc::vec::Vec;

/// After so many bytes the pattern repeats.
pub const PERIOD: usize = 251 * 256;

/// One period of the pattern.
#[must_use]
pub fn period() -> Vec<u8> {
    repeated(PERIOD)
}

/// The first `len` bytes of the pattern.
#[must_use]
pub fn repeated(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n + n / 251) as u8).collect()
}
