//! A bitmap of slots: which ones of the foreign window are taken.

/// A bitmap of `WORDS` times 64 slots.
pub(super) struct SlotMap<const WORDS: usize> {
    /// One bit per slot, set if it is taken.
    taken: [u64; WORDS],
    /// Slots below this one are never handed out.
    first: usize,
}

impl<const WORDS: usize> SlotMap<WORDS> {
    /// Makes a map in which all slots from `first` on are free.
    pub(super) const fn new(first: usize) -> Self {
        Self {
            taken: [0; WORDS],
            first,
        }
    }

    /// Takes the lowest `count` adjacent slots, at least one, and returns the
    /// first of them.
    pub(super) fn take(&mut self, count: usize) -> Option<usize> {
        let first = self.lowest_run(count)?;
        self.change(first, count, |word, bits| {
            assert!(*word & bits == 0, "a slot taken twice");
            *word |= bits;
        });
        Some(first)
    }

    /// Gives slots back.
    pub(super) fn put(&mut self, first: usize, count: usize) {
        self.change(first, count, |word, bits| {
            assert!(*word & bits == bits, "a slot given back twice");
            *word &= !bits;
        });
    }

    /// Finds the lowest run of `count` free slots; steps by runs of equal bits,
    /// not bit by bit.
    fn lowest_run(&self, count: usize) -> Option<usize> {
        let (mut start, mut slot) = (self.first, self.first);
        while count > 0 && slot < WORDS * 64 {
            let word = self.taken[slot / 64] >> (slot % 64);
            let left = 64 - slot % 64;
            if word & 1 == 0 {
                slot += (word.trailing_zeros() as usize).min(left);
                if slot - start >= count {
                    return Some(start);
                }
            } else {
                slot += (word.trailing_ones() as usize).min(left);
                start = slot;
            }
        }
        None
    }

    /// Changes the bits of slots, one word at a time.
    fn change(&mut self, first: usize, count: usize, change: impl Fn(&mut u64, u64)) {
        let end = first + count;
        let mut slot = first;
        while slot < end {
            let length = (end - slot).min(64 - slot % 64);
            let bits = (u64::MAX >> (64 - length)) << (slot % 64);
            change(&mut self.taken[slot / 64], bits);
            slot += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_lowest_place_is_taken_and_the_last_one_too() {
        let mut map = SlotMap::<4>::new(10);
        assert_eq!(map.take(0), None);
        assert_eq!(map.take(100), Some(10));
        assert_eq!(map.take(100), Some(110));
        assert_eq!(map.take(47), None);
        assert_eq!(map.take(46), Some(210));
        assert_eq!(map.take(1), None);
        map.put(60, 70);
        assert_eq!(map.take(71), None);
        assert_eq!(map.take(70), Some(60));
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_slot_cannot_be_given_back_twice() {
        let mut map = SlotMap::<1>::new(0);
        map.take(5);
        map.put(4, 2);
    }

    proptest! {
        /// The map finds the same run as a search slot by slot.
        #[test]
        fn the_search_is_exact(
            steps in prop::collection::vec((any::<bool>(), 1usize..100), 1..80),
        ) {
            let mut map = SlotMap::<5>::new(64);
            let mut plain = [false; 320];
            plain[..64].fill(true);
            let mut held: Vec<(usize, usize)> = Vec::new();
            for (take, size) in steps {
                if take {
                    let expected = (0..=320 - size)
                        .find(|&at| plain[at..at + size].iter().all(|taken| !taken));
                    prop_assert_eq!(map.take(size), expected);
                    if let Some(first) = expected {
                        plain[first..first + size].fill(true);
                        held.push((first, size));
                    }
                } else if !held.is_empty() {
                    let (first, count) = held.swap_remove(size % held.len());
                    map.put(first, count);
                    plain[first..first + count].fill(false);
                }
            }
        }
    }
}
