//! The doorbell: what an event is about (docs/protocol.md, "Doorbell").

use shared_memory::Memory;

use super::ring::RingNumber;

/// Words of each kind; a ring has one bit.
const WORDS: usize = 8;

const SUMMARY: usize = 0x00;
const DATA: usize = 0x40;
const SPACE: usize = 0x80;

/// One bit per ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingSet([u64; WORDS]);

impl RingSet {
    /// Returns the numbers of the rings in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = RingNumber> {
        self.0.into_iter().enumerate().flat_map(|(word, mut bits)| {
            core::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let bit = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                RingNumber::from_index(64 * word + bit)
            })
        })
    }
}

/// What a doorbell said when it was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Messages were written, or taken.
    pub messages: bool,
    /// Rings of the side that rang: bytes or an end were written.
    pub data: RingSet,
    /// Rings of the side that was rung: bytes were taken.
    pub space: RingSet,
}

/// Rings for messages.
pub fn ring_messages<M: Memory>(memory: &M, bell: usize) {
    memory.fetch_or(bell + SUMMARY, 1);
}

/// Rings for a ring that this side writes: it has bytes, or an end.
pub fn ring_data<M: Memory>(memory: &M, bell: usize, ring: RingNumber) {
    let (word, bit) = (ring.index() / 64, ring.index() % 64);
    memory.fetch_or(bell + DATA + 8 * word, 1 << bit);
    memory.fetch_or(bell + SUMMARY, 1 << (8 + word));
}

/// Rings for a ring that the other side writes: bytes were taken.
pub fn ring_space<M: Memory>(memory: &M, bell: usize, ring: RingNumber) {
    let (word, bit) = (ring.index() / 64, ring.index() % 64);
    memory.fetch_or(bell + SPACE + 8 * word, 1 << bit);
    memory.fetch_or(bell + SUMMARY, 1 << (16 + word));
}

/// Answers this side's doorbell and clears it; returns `None` if it did not ring.
pub fn answer<M: Memory>(memory: &M, bell: usize) -> Option<Heard> {
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
            heard.data.0[word] = memory.swap(bell + DATA + 8 * word, 0);
        }
        if summary & (1 << (16 + word)) != 0 {
            heard.space.0[word] = memory.swap(bell + SPACE + 8 * word, 0);
        }
    }
    Some(heard)
}

#[cfg(test)]
mod tests {
    use shared_memory::Words;

    use super::super::ring::RingNumber;
    use super::{answer, ring_data, ring_messages, ring_space};

    #[test]
    fn an_answer_names_what_was_rung_for_and_clears_it() {
        let memory = Words::new(0x200);
        let ring = |number| RingNumber::new(number).expect("a ring number");
        assert_eq!(answer(&memory, 0x100), None);
        ring_messages(&memory, 0x100);
        for number in [511, 0, 64] {
            ring_data(&memory, 0x100, ring(number));
        }
        ring_space(&memory, 0x100, ring(63));
        let heard = answer(&memory, 0x100).expect("it rang");
        assert!(heard.messages);
        assert!(heard.data.iter().eq([ring(0), ring(64), ring(511)]));
        assert!(heard.space.iter().eq([ring(63)]));
        assert_eq!(answer(&memory, 0x100), None);
    }
}
