//! Random numbers.
//!
//! If the processor has RDRAND (any since 2012, unless the toolstack hides it)
//! they are as good as RDRAND: good for nonces, and for keys as far as one
//! trusts the processor. Without it they are derived from the time-stamp
//! counter, the domain's number and a count: no two are equal, but somebody who
//! knows the host well can narrow them down. They are good enough for a nonce
//! that has to be unique, not for a key.

use crate::{domain, pv};
use core::arch::x86_64::{_rdrand64_step, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};

/// How many times to ask RDRAND for a word: it succeeds within ten attempts
/// unless the processor is broken (Intel SDM volume 1, 7.3.17.1).
const ATTEMPTS: usize = 10;

/// A mixture of everything ever drawn, on which all further numbers depend.
static STATE: AtomicU64 = AtomicU64::new(0);

/// Fills `bytes` with random numbers; see the module's documentation for their
/// quality.
pub fn fill(bytes: &mut [u8]) {
    // Checked each time: the guest may have moved to another host.
    let hardware = pv::has_rdrand();
    // SAFETY: part of x86-64.
    let clock = unsafe { _rdtsc() };
    let mut state = STATE.load(Ordering::Relaxed)
        ^ clock.rotate_left(16)
        ^ u64::from(domain::domid()).rotate_left(48);
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(STEP);
        let mut word = mix(state);
        if hardware && let Some(drawn) = rdrand() {
            word ^= drawn;
            state ^= drawn;
        }
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
    STATE.store(mix(state), Ordering::Relaxed);
}

/// The odd number nearest to 2^64 divided by the golden ratio: adding it
/// repeatedly visits all 64-bit numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a word: a bijection in which each bit depends on all others (the
/// finalizer of SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Draws a word from the processor's generator, which must exist.
fn rdrand() -> Option<u64> {
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
