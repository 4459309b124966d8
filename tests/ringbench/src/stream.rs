//! Endless streams of bytes, timed, and finite ones, checked.

use std::io::{self, ErrorKind, Read, Write};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::path::Job;

/// Bytes between two readings of the clock.
const BETWEEN_LOOKS: u64 = 64 * 1024;

/// The amount read in a period of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// A message's bytes, on a page boundary.
///
/// This is the same for all paths, because the speed of a copy depends on it a lot: the C library's
/// copies by `rep movsb`, which some processors (Zen 3) do 25 times slower if the destination lies
/// less than 64 bytes behind the source modulo 4096.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    at: usize,
    len: usize,
}

impl Buffer {
    pub(crate) fn new(len: usize) -> Self {
        const PAGE: usize = 4096;
        let bytes = vec![0x5a; len + PAGE];
        // An offset that does not fit would be past the end.
        let at = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self { bytes, at, len }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.at..][..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.at..][..self.len]
    }
}

/// Returns the byte at a position of a checked stream. Its period is not that of any ring or
/// message.
const fn byte_at(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// An error that only tells that the reader has had enough counts as success.
pub(crate) fn closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}

/// Writes messages as the job demands.
pub(crate) fn write(into: &mut impl Write, job: Job) -> Result<()> {
    let mut message = Buffer::new(job.message);
    let Some(mut left) = job.checked else {
        loop {
            if let Err(error) = into.write_all(&message) {
                return Ok(closed(error)?);
            }
        }
    };
    let all = left;
    while left > 0 {
        let count = left.min(job.message as u64);
        for (byte, place) in message.iter_mut().zip(all - left..) {
            *byte = byte_at(place);
        }
        into.write_all(&message[..count as usize])?;
        left -= count;
    }
    into.flush()?;
    Ok(())
}

/// Reads for `time`, and returns what arrived.
pub(crate) fn read_for(from: &mut impl Read, message: usize, time: Duration) -> Result<Sample> {
    let mut into = Buffer::new(message);
    let mut bytes = 0;
    let start = Instant::now();
    loop {
        let look = bytes + BETWEEN_LOOKS;
        while bytes < look {
            let count = from.read(&mut into)?;
            ensure!(count > 0, "the stream has ended");
            std::hint::black_box(&mut into);
            bytes += count as u64;
        }
        let elapsed = start.elapsed();
        if elapsed >= time {
            return Ok(Sample {
                bytes,
                seconds: elapsed.as_secs_f64(),
            });
        }
    }
}

/// Reads a checked stream of `all` bytes to its end.
pub(crate) fn check(from: &mut impl Read, message: usize, all: u64) -> Result<()> {
    let mut into = Buffer::new(message);
    let mut place = 0;
    loop {
        let count = from.read(&mut into)?;
        if count == 0 {
            break;
        }
        for (&byte, place) in into[..count].iter().zip(place..) {
            ensure!(byte == byte_at(place), "byte {place} is another");
        }
        place += count as u64;
    }
    ensure!(place == all, "{place} bytes of {all} arrived");
    Ok(())
}
