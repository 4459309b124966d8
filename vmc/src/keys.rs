//! Typed names of table entries, and the table that hands them out.
//!
//! A key is an index with a generation: after its entry was removed it finds
//! nothing, even if the slot has a new owner. Nothing but a key names a link
//! or a connection, so a reused slot inherits nothing.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// Index and generation of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    index: u32,
    generation: u32,
}

/// A typed [`Slot`].
pub(crate) trait Key: Copy + Eq {
    fn new(slot: Slot) -> Self;
    fn slot(self) -> Slot;
}

/// Names a link; stale once the link has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey(Slot);

/// Names a connection; stale once the connection was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnKey(Slot);

impl Key for LinkKey {
    fn new(slot: Slot) -> Self {
        Self(slot)
    }

    fn slot(self) -> Slot {
        self.0
    }
}

impl Key for ConnKey {
    fn new(slot: Slot) -> Self {
        Self(slot)
    }

    fn slot(self) -> Slot {
        self.0
    }
}

impl ConnKey {
    /// Returns a small number that no other current connection has, for tables
    /// indexed by connection.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.index as usize
    }
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// A bounded table of `T`, looked up by `K`.
pub(crate) struct Slab<K, T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    bound: usize,
    key: PhantomData<K>,
}

impl<K: Key, T> Slab<K, T> {
    /// Returns an empty table of at most `bound` entries.
    pub(crate) const fn new(bound: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            bound,
            key: PhantomData,
        }
    }

    /// Inserts `value`; returns it if the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Result<K, T> {
        if self.free.is_empty()
            && self.entries.len() < self.bound
            && let Ok(index) = u32::try_from(self.entries.len())
        {
            self.entries.push(Entry {
                generation: 0,
                value: None,
            });
            self.free.push(index);
        }
        let free = self.free.pop();
        let place = free.and_then(|index| Some((index, self.entries.get_mut(index as usize)?)));
        let Some((index, entry)) = place else {
            return Err(value);
        };
        entry.value = Some(value);
        Ok(K::new(Slot {
            index,
            generation: entry.generation,
        }))
    }

    /// Removes an entry; its key is stale from now on.
    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let Slot { index, generation } = key.slot();
        let entry = self.entries.get_mut(index as usize)?;
        if entry.generation != generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    /// Returns the entry that `key` names, unless the key is stale.
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let Slot { index, generation } = key.slot();
        let entry = self.entries.get(index as usize)?;
        entry
            .value
            .as_ref()
            .filter(|_| entry.generation == generation)
    }

    /// Returns the entry that `key` names, unless the key is stale.
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let Slot { index, generation } = key.slot();
        let entry = self.entries.get_mut(index as usize)?;
        let is_current = entry.generation == generation;
        entry.value.as_mut().filter(|_| is_current)
    }

    /// Returns one more than the largest index ever used: the bound of a loop
    /// over [`Slab::key_at`] that changes the table on its way.
    pub(crate) const fn end(&self) -> usize {
        self.entries.len()
    }

    /// Returns the current key of the slot at `index`, if it has an owner.
    pub(crate) fn key_at(&self, index: usize) -> Option<K> {
        let entry = self.entries.get(index)?;
        entry.value.as_ref()?;
        Some(K::new(Slot {
            index: u32::try_from(index).ok()?,
            generation: entry.generation,
        }))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.len() == self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let slot = Slot {
                    index: u32::try_from(index).ok()?,
                    generation: entry.generation,
                };
                Some((K::new(slot), entry.value.as_ref()?))
            })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        let entries = self.entries.iter_mut().enumerate();
        entries.filter_map(|(index, entry)| {
            let slot = Slot {
                index: u32::try_from(index).ok()?,
                generation: entry.generation,
            };
            Some((K::new(slot), entry.value.as_mut()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnKey, Slab};

    #[test]
    fn a_removed_entry_leaves_a_stale_key() {
        let mut slab = Slab::<ConnKey, char>::new(1);
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.insert('b'), Err('b'));
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.get(first), None);
        let second = slab.insert('c').expect("room");
        assert_ne!(first, second);
        assert_eq!(first.index(), second.index());
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'c'));
        assert!(!slab.is_empty());
    }
}
