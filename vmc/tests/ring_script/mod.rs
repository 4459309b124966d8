//! A ring with a hostile other side, described by a byte string, for the
//! fuzzer and its corpus.
//!
//! The first byte of a script says which side is the victim (bit 0: the producer),
//! how large the ring is (bits 1 to 3) and where it begins (bits 4 and 5).
//! Then steps follow: those of the victim, 0 to 6 of the low four bits, in
//! `consumer` and `producer`; the peer's, from 7 on, in `peer`.

mod consumer;
mod peer;
mod producer;
mod watched;

use vmc::ring::{Geometry, HEADER_BYTES};

/// Bytes that belong to nobody, around header and data.
const MARGIN: usize = 64;

/// A script, from the place on that has been read.
pub(crate) struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next byte; 0 behind the end.
    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// A distance, near 0.
    fn near(&mut self) -> u64 {
        i64::from(self.byte().cast_signed()).cast_unsigned()
    }
}

/// Runs a script. Panics where the victim does what it must not.
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
