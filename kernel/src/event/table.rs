//! The table of event channels, and the tasks that wait on them.

use core::task::Waker;

/// Most ports a guest can use: the longest list that `SCHEDOP_poll` takes.
pub const MAX_CHANNELS: usize = 128;

pub(super) struct Slot {
    pub(super) port: u32,
    pub(super) waker: Option<Waker>,
    pub(super) origin: Origin,
}

/// The origin of a channel, which decides what becomes of it in a new domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made by this guest: it ends with the domain.
    Own,
    /// The console's: the domain builder makes it anew.
    Console,
    /// xenstore's: the domain builder makes it anew.
    Store,
}

pub(super) struct Table {
    pub(super) slots: [Option<Slot>; MAX_CHANNELS],
    /// One bit per slot, set while it has a waker: the slots that each turn of
    /// the run loop has to check.
    waiting: u128,
}

const _: () = assert!(MAX_CHANNELS <= u128::BITS as usize);

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { None }; MAX_CHANNELS],
            waiting: 0,
        }
    }

    /// Sets the waker of a slot and returns the previous one.
    pub(super) fn replace_waker(&mut self, index: usize, waker: Option<Waker>) -> Option<Waker> {
        let slot = self.slots[index].as_mut()?;
        match waker {
            Some(_) => self.waiting |= 1 << index,
            None => self.waiting &= !(1 << index),
        }
        core::mem::replace(&mut slot.waker, waker)
    }

    /// Removes and returns the contents of a slot.
    pub(super) fn vacate(&mut self, index: usize) -> Option<Slot> {
        self.waiting &= !(1 << index);
        self.slots[index].take()
    }

    /// Returns the first slot at or after `from` that a task waits on.
    pub(super) fn next_waiting(&self, from: usize) -> Option<(usize, &Slot)> {
        let left = self.waiting.checked_shr(from as u32)?;
        if left == 0 {
            return None;
        }
        let index = from + left.trailing_zeros() as usize;
        let slot = self.slots[index].as_ref();
        Some((index, slot.expect("`vacate` clears the bit")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn waiting(table: &Table) -> Vec<usize> {
        let mut from = 0;
        core::iter::from_fn(|| {
            let (index, _) = table.next_waiting(from)?;
            from = index + 1;
            Some(index)
        })
        .collect()
    }

    proptest! {
        /// The mask has exactly the slots with a waker.
        #[test]
        fn the_mask_matches_the_wakers(steps in prop::collection::vec((0u8..4, 0..MAX_CHANNELS), 0..300)) {
            let mut table = Table::new();
            for (kind, index) in steps {
                match kind {
                    0 => {
                        table.vacate(index);
                        table.slots[index] = Some(Slot {
                            port: 1,
                            waker: None,
                            origin: Origin::Own,
                        });
                    }
                    1 => drop(table.replace_waker(index, Some(Waker::noop().clone()))),
                    2 => drop(table.replace_waker(index, None)),
                    _ => drop(table.vacate(index)),
                }
                let plain: Vec<usize> = table
                    .slots
                    .iter()
                    .enumerate()
                    .filter(|(_, slot)| slot.as_ref().is_some_and(|slot| slot.waker.is_some()))
                    .map(|(index, _)| index)
                    .collect();
                prop_assert_eq!(waiting(&table), plain);
            }
        }
    }
}
