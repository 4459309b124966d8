//! Memory without a hypervisor, for tests.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::Memory;

const WORD: usize = size_of::<u64>();

/// Shared memory made of atomic words. Clones are the same memory, like the two
/// sides of a grant.
#[derive(Debug, Clone)]
pub struct Words(Arc<[AtomicU64]>);

impl Words {
    /// Zeros; `bytes` is rounded up to whole words.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(WORD);
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(WORD),
            "offset {offset} is not aligned"
        );
        &self.0[offset / WORD]
    }

    /// Calls `each` for every word that overlaps the bytes from `offset` to
    /// `offset + len`, with the word, the range of its bytes that overlap, and
    /// the position of that range in the caller's buffer.
    fn touch(
        &self,
        offset: usize,
        len: usize,
        mut each: impl FnMut(&AtomicU64, core::ops::Range<usize>, usize),
    ) {
        assert!(
            offset <= self.len() && len <= self.len() - offset,
            "bytes {offset}+{len} of {}",
            self.len()
        );
        let mut done = 0;
        while done < len {
            let first = (offset + done) % WORD;
            let last = WORD.min(first + len - done);
            each(&self.0[(offset + done) / WORD], first..last, done);
            done += last - first;
        }
    }
}

impl Memory for Words {
    fn len(&self) -> usize {
        self.0.len() * WORD
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.touch(offset, into.len(), |word, bytes, at| {
            let value = word.load(Ordering::Relaxed).to_le_bytes();
            into[at..at + bytes.len()].copy_from_slice(&value[bytes]);
        });
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.touch(offset, from.len(), |word, bytes, at| {
            let mut value = word.load(Ordering::Relaxed);
            // Another thread may write the word's other bytes meanwhile.
            loop {
                let mut new = value.to_le_bytes();
                new[bytes.clone()].copy_from_slice(&from[at..at + bytes.len()]);
                let new = u64::from_le_bytes(new);
                match word.compare_exchange_weak(value, new, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(found) => value = found,
                }
            }
        });
    }

    fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).fetch_or(bits, Ordering::SeqCst)
    }

    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.word(offset).swap(value, Ordering::SeqCst)
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::Words;
    use crate::Memory;

    #[test]
    fn bytes_and_words_are_one_memory() {
        let memory = Words::new(32);
        memory.write(6, &[1, 2, 3]);
        assert_eq!(memory.load(0), 0x0201_0000_0000_0000);
        assert_eq!(memory.load(8), 3);
        assert_eq!(memory.fetch_or(8, 0x100), 3);
        assert_eq!(memory.swap(0, 7), 0x0201_0000_0000_0000);
        let mut bytes = [9; 11];
        memory.read(0, &mut bytes);
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0]);
    }

    #[test]
    #[should_panic(expected = "of 32")]
    fn reading_past_the_end_is_a_bug() {
        Words::new(32).read(30, &mut [0; 3]);
    }
}
