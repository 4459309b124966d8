//! Places that are found by index, with a generation against stale names.

use alloc::vec::Vec;

/// A name of a place: index and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A table with a bound.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    bound: usize,
}

impl<T> Slab<T> {
    pub(crate) const fn new(bound: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            bound,
        }
    }

    /// Puts `value` into a free place; none where the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.bound => {
                self.slots.push(Slot {
                    generation: 0,
                    value: None,
                });
                u32::try_from(self.slots.len() - 1).ok()?
            }
            None => return None,
        };
        let slot = self.slots.get_mut(index as usize)?;
        slot.value = Some(value);
        Some(Key {
            index,
            generation: slot.generation,
        })
    }

    /// Empties a place; its names are stale from now on.
    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let slot = self.slots.get_mut(index)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(u32::try_from(index).ok()?);
        Some(value)
    }

    /// The index that `key` names, unless it is stale.
    pub(crate) fn find(&self, key: Key) -> Option<usize> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.generation == key.generation && slot.value.is_some()).then_some(key.index as usize)
    }

    /// What `key` names, unless it is stale.
    pub(crate) fn named(&self, key: Key) -> Option<&T> {
        self.find(key).and_then(|index| self.get(index))
    }

    /// What `key` names, unless it is stale.
    pub(crate) fn named_mut(&mut self, key: Key) -> Option<&mut T> {
        self.find(key).and_then(|index| self.get_mut(index))
    }

    /// The present name of a place.
    pub(crate) fn key(&self, index: usize) -> Option<Key> {
        let slot = self.slots.get(index)?;
        slot.value.as_ref()?;
        Some(Key {
            index: u32::try_from(index).ok()?,
            generation: slot.generation,
        })
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.slots.get(index)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)?.value.as_mut()
    }

    /// One more than the largest index in use.
    pub(crate) fn end(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = Key {
                index: u32::try_from(index).ok()?,
                generation: slot.generation,
            };
            Some((key, slot.value.as_ref()?))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(index, slot)| {
                let key = Key {
                    index: u32::try_from(index).ok()?,
                    generation: slot.generation,
                };
                Some((key, slot.value.as_mut()?))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_name_of_an_emptied_place_is_stale() {
        let mut slab = Slab::new(1);
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.insert('b'), None);
        assert_eq!(slab.remove(0), Some('a'));
        assert_eq!(slab.find(first), None);
        let second = slab.insert('c').expect("room");
        assert_ne!(first, second);
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.find(second), Some(0));
        assert_eq!(slab.len(), 1);
    }
}
