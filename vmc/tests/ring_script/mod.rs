//! A ring whose other side is hostile, described by a byte string, for the
//! fuzzer and its corpus.
//!
//! The first byte of a script says which side is the victim (bit 0: the
//! producer), how large the ring is (bits 1 to 3) and where it begins (bits 4
//! and 5). Steps follow. The low four bits of each say which: 0 to 6 are the
//! victim's, in `consumer` and `producer`; from 7 on they are the peer's, in
//! `peer`.

mod consumer;
mod peer;
mod producer;
mod watched;

use vmc::ring::{Geometry, HEADER_BYTES};

/// Unused bytes before, between and after header and data.
const MARGIN: usize = 64;

/// The part of a script that has not been read.
pub(crate) struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Returns the next byte, 0 after the end.
    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// Returns a distance near 0, positive or negative.
    fn near(&mut self) -> u64 {
        i64::from(self.byte().cast_signed()).cast_unsigned()
    }
}

/// Runs a script.
///
/// # Panics
/// If the victim does what it must not.
pub(crate) fn run(script: &[u8]) {
    let mut script = Script(script);
    let first = script.byte();
    let geometry = Geometry {
        header: MARGIN,
        data: 2 * MARGIN + HEADER_BYTES,
        capacity: 1 << (first >> 1 & 7),
    };
    let base = match first >> 4 & 3 {
        0 => 0,
        1 => 1000,
        2 => u64::MAX - 40,
        _ => script.word(),
    };
    if first & 1 == 0 {
        consumer::run(geometry, base, &mut script);
    } else {
        producer::run(geometry, base, &mut script);
    }
}
