//! The doorbell: what an event is about (docs/protocol.md, "Doorbell").

use shared_memory::Memory;

/// Words of each kind; a ring has one bit.
pub(crate) const WORDS: usize = 8;

const SUMMARY: usize = 0x00;
const DATA: usize = 0x40;
const SPACE: usize = 0x80;

/// What a doorbell says, all of it taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Messages were written, or taken.
    pub(crate) messages: bool,
    /// Rings of the one who rang: there is something in them.
    pub(crate) data: [u64; WORDS],
    /// Rings of the one who was rung: something was taken out of them.
    pub(crate) space: [u64; WORDS],
}

/// Rings for messages.
pub(crate) fn ring_messages<M: Memory>(memory: &M, bell: usize) {
    memory.fetch_or(bell + SUMMARY, 1);
}

/// Rings for a ring of one's own: it has bytes, or an end.
pub(crate) fn ring_data<M: Memory>(memory: &M, bell: usize, ring: u16) {
    let word = usize::from(ring) / 64 % WORDS;
    memory.fetch_or(bell + DATA + 8 * word, 1 << (ring % 64));
    memory.fetch_or(bell + SUMMARY, 1 << (8 + word));
}

/// Rings for a ring of the other's: bytes were taken.
pub(crate) fn ring_space<M: Memory>(memory: &M, bell: usize, ring: u16) {
    let word = usize::from(ring) / 64 % WORDS;
    memory.fetch_or(bell + SPACE + 8 * word, 1 << (ring % 64));
    memory.fetch_or(bell + SUMMARY, 1 << (16 + word));
}

/// Answers one's own doorbell. None: it did not ring.
pub(crate) fn answer<M: Memory>(memory: &M, bell: usize) -> Option<Heard> {
    let summary = memory.swap(bell + SUMMARY, 0);
    if summary == 0 {
        return None;
    }
    let mut heard = Heard {
        messages: summary & 1 != 0,
        ..Heard::default()
    };
    for word in 0..WORDS {
        if summary & (1 << (8 + word)) != 0 {
            heard.data[word] = memory.swap(bell + DATA + 8 * word, 0);
        }
        if summary & (1 << (16 + word)) != 0 {
            heard.space[word] = memory.swap(bell + SPACE + 8 * word, 0);
        }
    }
    Some(heard)
}

/// The numbers of the bits that are set.
pub(crate) fn bits(words: [u64; WORDS]) -> impl Iterator<Item = usize> {
    words.into_iter().enumerate().flat_map(|(word, mut bits)| {
        core::iter::from_fn(move || {
            if bits == 0 {
                return None;
            }
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            Some(64 * word + bit)
        })
    })
}
