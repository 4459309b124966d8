//! The table of event channels, and who waits on which.

use core::task::Waker;

/// Most ports of a guest: `SCHEDOP_poll` takes no longer a list.
pub const MAX_CHANNELS: usize = 128;

pub(super) struct Slot {
    pub(super) port: u32,
    pub(super) waker: Option<Waker>,
    pub(super) origin: Origin,
}

/// Where a channel comes from, and with that what becomes of it in a new domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made by this guest: gone with the domain that it was.
    Own,
    /// The console's: made anew by the domain builder.
    Console,
    /// xenstore's: the same.
    Store,
}

pub(super) struct Table {
    pub(super) slots: [Option<Slot>; MAX_CHANNELS],
    /// One bit a slot, set where it has a waker: what each turn of the run
    /// loop has to look at.
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

    /// Sets the waker of a slot and returns the former one.
    pub(super) fn replace_waker(&mut self, index: usize, waker: Option<Waker>) -> Option<Waker> {
        let slot = self.slots[index].as_mut()?;
        match waker {
            Some(_) => self.waiting |= 1 << index,
            None => self.waiting &= !(1 << index),
        }
        core::mem::replace(&mut slot.waker, waker)
    }

    /// Takes a slot out of use.
    pub(super) fn vacate(&mut self, index: usize) -> Option<Slot> {
        self.waiting &= !(1 << index);
        self.slots[index].take()
    }

    /// The first slot from `from` on that a task waits on.
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
        /// The mask names the slots that have a waker.
        #[test]
        fn who_waits_is_known(steps in prop::collection::vec((0u8..4, 0..MAX_CHANNELS), 0..300)) {
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
