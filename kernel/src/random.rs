//! Random numbers.
//!
//! ChaCha20 makes them from a key that each call replaces, so that nothing of what
//! was drawn before or will be drawn later follows from a number that a peer has
//! seen ("fast key erasure", Bernstein 2017). Each call adds to the key what the
//! machine has to offer: RDRAND, if the processor has it (any since 2012, unless the
//! toolstack hides it), the time-stamp counter, and the domain's number, so that two
//! guests restored from one checkpoint part ways.
//!
//! Without RDRAND the key's beginning is the time-stamp counter's jitter alone.
//! Nonces are unique and do not betray each other then, but somebody who knows the
//! host well may guess the first key: do not make long-lived keys of them.

use crate::{domain, platform};
use core::arch::x86_64::{_rdrand64_step, _rdtsc};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use spin::Mutex;

/// How many times to ask RDRAND for a word: it succeeds within ten attempts
/// unless the processor is broken (Intel SDM volume 1, 7.3.17.1).
const ATTEMPTS: usize = 10;
/// Readings of the time-stamp counter that the first key is made of.
const READINGS: usize = 64;

type Key = [u8; 32];

/// The key of the next call; `None` before the first one.
static KEY: Mutex<Option<Key>> = Mutex::new(None);

/// Fills `bytes` with random numbers; see the module's documentation for their
/// quality.
pub fn fill(bytes: &mut [u8]) {
    // Checked each time: the guest may have moved to another host.
    let rdrand = platform::has_rdrand();
    let mut key = KEY.lock();
    let old = key.unwrap_or_else(|| first_key(rdrand));
    let mut generator = ChaCha20Rng::from_seed(stir(old, rdrand));
    let mut next = Key::default();
    generator.fill_bytes(&mut next);
    *key = Some(next);
    drop(key);
    generator.fill_bytes(bytes);
}

/// Makes a key of many readings, which interrupts and caches make differ.
fn first_key(rdrand: bool) -> Key {
    (0..READINGS).fold(Key::default(), |key, _| {
        let mut next = Key::default();
        ChaCha20Rng::from_seed(stir(key, rdrand)).fill_bytes(&mut next);
        next
    })
}

/// Adds to a key what the machine offers at this moment.
fn stir(mut key: Key, rdrand: bool) -> Key {
    // SAFETY: part of x86-64.
    let clock = unsafe { _rdtsc() };
    let domid = u64::from(domain::domid());
    let words = [clock, domid, 0, 0];
    for (chunk, word) in key.chunks_exact_mut(8).zip(words) {
        let drawn = if rdrand { draw() } else { None };
        let word = word ^ drawn.unwrap_or(0);
        for (byte, with) in chunk.iter_mut().zip(word.to_le_bytes()) {
            *byte ^= with;
        }
    }
    key
}

/// Draws a word from the processor's generator, which must exist.
fn draw() -> Option<u64> {
    (0..ATTEMPTS).find_map(|_| {
        let mut word = 0;
        // SAFETY: the caller has checked that the processor has the
        // instruction.
        let drawn = unsafe { _rdrand64_step(&mut word) };
        (drawn == 1).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    /// The next number must not follow from those before it: with the generator's
    /// own step undone or repeated on what was seen, nothing seen is found again.
    #[test]
    fn what_was_drawn_is_no_key() {
        let mut seen = [0; 32];
        fill(&mut seen);
        let mut next = [0; 32];
        fill(&mut next);
        for guess in [seen, stir(seen, false)] {
            let mut generator = ChaCha20Rng::from_seed(guess);
            let mut drawn = [0; 64];
            generator.fill_bytes(&mut drawn);
            assert_ne!(drawn[..32], next);
            assert_ne!(drawn[32..], next);
        }
        assert_ne!(*KEY.lock(), Some(next));
    }

    #[test]
    fn no_two_are_equal() {
        let mut seen = BTreeSet::new();
        for _ in 0..10_000 {
            let mut nonce = [0; 16];
            fill(&mut nonce);
            assert!(seen.insert(nonce));
        }
    }

    #[test]
    fn every_byte_is_filled_and_none_beside() {
        for length in 0..40 {
            // By chance a byte stays 0 in all 64 attempts once in 2^512 times.
            let mut changed = [false; 41];
            for _ in 0..64 {
                let mut bytes = [0; 41];
                fill(&mut bytes[..length]);
                for (changed, byte) in changed.iter_mut().zip(bytes) {
                    *changed |= byte != 0;
                }
            }
            assert!(changed[..length].iter().all(|&changed| changed));
            assert!(!changed[length..].iter().any(|&changed| changed));
        }
    }
}
