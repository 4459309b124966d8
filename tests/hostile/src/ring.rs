//! The ring of one direction, while this guest follows the rules, and its fields, for when it does
//! not.

use core::ops::Deref;
use core::sync::atomic::Ordering;

use kernel::PAGE_SIZE;
use kernel::shared::SharedMemory;

// Offsets in a ring's header.
pub(crate) const TAIL: usize = 0x00;
pub(crate) const SPACE_AT: usize = 0x10;
pub(crate) const HEAD: usize = 0x80;
pub(crate) const CONSUMER_STATE: usize = 0x88;
pub(crate) const DATA_AT: usize = 0x90;

/// The position of a ring in its memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) header: usize,
    pub(crate) data: usize,
    pub(crate) capacity: usize,
    /// The stream offset at which the ring began.
    pub(crate) base: u64,
}

impl Place {
    /// Returns the layout of a connection's ring, whose header has a page of its own before the
    /// data.
    pub(crate) fn of_connection(log2: u8, base: u64) -> Self {
        Self {
            header: 0,
            data: PAGE_SIZE,
            capacity: PAGE_SIZE << log2,
            base,
        }
    }

    pub(crate) fn load(&self, memory: &SharedMemory, field: usize) -> u64 {
        memory.load_u64(self.header + field, Ordering::Acquire)
    }

    pub(crate) fn store(&self, memory: &SharedMemory, field: usize, value: u64) {
        memory.store_u64(self.header + field, value, Ordering::Release);
    }

    /// Returns the position of the byte with this stream offset, and how many bytes follow
    /// contiguously.
    fn piece(&self, offset: u64) -> (usize, usize) {
        let at = (offset - self.base) as usize % self.capacity;
        (self.data + at, self.capacity - at)
    }
}

/// Returns whether moving an index from `from` to `to` requires notifying a side that waits for
/// `at`.
fn passed(from: u64, to: u64, at: u64) -> bool {
    from < at && at <= to
}

/// The writing end.
pub(crate) struct Producer {
    pub(crate) place: Place,
    pub(crate) tail: u64,
}

impl Producer {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            tail: place.base,
        }
    }

    /// Initialises a new ring's header as the protocol demands.
    pub(crate) fn prepare(&self, memory: &SharedMemory) {
        for field in [TAIL, SPACE_AT, HEAD, DATA_AT] {
            self.place.store(memory, field, self.place.base);
        }
    }

    /// Writes as much as there is room for. Returns the count, and whether the consumer has to be
    /// notified.
    pub(crate) fn write(&mut self, memory: &SharedMemory, bytes: &[u8]) -> (usize, bool) {
        let used = self.tail - self.place.load(memory, HEAD);
        let count = bytes.len().min(self.place.capacity - used as usize);
        let (at, whole) = self.place.piece(self.tail);
        let (first, rest) = bytes[..count].split_at(whole.min(count));
        memory.write(at, first);
        memory.write(self.place.data, rest);
        let before = self.tail;
        self.tail += count as u64;
        self.place.store(memory, TAIL, self.tail);
        memory.fence();
        let wish = self.place.load(memory, DATA_AT);
        (count, passed(before, self.tail, wish))
    }

    /// Asks to be notified as soon as the consumer takes one more byte.
    pub(crate) fn wish(&self, memory: &SharedMemory) {
        let head = self.place.load(memory, HEAD);
        self.place.store(memory, SPACE_AT, head + 1);
        memory.fence();
    }
}

/// The reading end.
pub(crate) struct Consumer {
    pub(crate) place: Place,
    pub(crate) head: u64,
}

impl Consumer {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            head: place.base,
        }
    }

    /// Announces that the ring is mapped and read.
    pub(crate) fn attach(&self, memory: &SharedMemory) {
        self.place.store(memory, CONSUMER_STATE, 1);
    }

    /// Returns how many bytes are available.
    pub(crate) fn ready(&self, memory: &SharedMemory) -> usize {
        (self.place.load(memory, TAIL) - self.head) as usize
    }

    /// Reads the available bytes. Returns the count, and whether the producer has to be notified.
    pub(crate) fn read(&mut self, memory: &SharedMemory, into: &mut [u8]) -> (usize, bool) {
        let count = into.len().min(self.ready(memory));
        let (at, whole) = self.place.piece(self.head);
        let (first, rest) = into[..count].split_at_mut(whole.min(count));
        memory.read(at, first);
        memory.read(self.place.data, rest);
        let before = self.head;
        self.head += count as u64;
        self.place.store(memory, HEAD, self.head);
        memory.fence();
        let wish = self.place.load(memory, SPACE_AT);
        (count, passed(before, self.head, wish))
    }

    /// Asks to be notified of the next byte. Returns true if it has already arrived.
    pub(crate) fn wish(&self, memory: &SharedMemory) -> bool {
        self.place.store(memory, DATA_AT, self.head + 1);
        memory.fence();
        self.place.load(memory, TAIL) > self.head
    }
}

/// A ring of a connection, with its memory.
pub(crate) struct Owned<M, E> {
    pub(crate) memory: M,
    pub(crate) end: E,
    pub(crate) number: u16,
}

impl<M: Deref<Target = SharedMemory>, E> Owned<M, E> {
    /// Overwrites the whole ring with `byte`.
    pub(crate) fn scribble(&self, byte: u8) {
        scribble(&self.memory, byte);
    }
}

/// Overwrites a whole memory with `byte`.
pub(crate) fn scribble(memory: &SharedMemory, byte: u8) {
    for page in (0..memory.len()).step_by(PAGE_SIZE) {
        memory.write(page, &[byte; PAGE_SIZE]);
    }
}
