//! The writing end; as a rule it owns the ring's memory.

use super::IndexLie;
use super::layout::{
    ATTACHED, CONSUMER_STATE, DATA_AT, FIN, Geometry, HEAD, PRODUCER_STATE, RESET, SEALED,
    SPACE_AT, TAIL, reaches,
};
use super::lie;
use shared_memory::Memory;

/// The producer's end of a ring.
#[derive(Debug)]
pub struct Producer {
    geometry: Geometry,
    base: u64,
    tail: u64,
    /// The consumer's head, as believed last.
    head: u64,
    /// How far the consumer was notified: the offset up to which `must_ring` has
    /// looked, and one more if that includes the end.
    announced: u64,
    /// FIN and RESET as they are in the header.
    state: u64,
    /// The consumer owns the memory, and may seal the ring.
    sealable: bool,
    sealed: bool,
}

impl Producer {
    /// Begins a ring at the stream offset `base`. Writes both halves of the header,
    /// so the ring must not be in use.
    ///
    /// # Panics
    /// If the capacity is not a power of two.
    pub fn new<M: Memory>(memory: &M, geometry: Geometry, base: u64) -> Self {
        let geometry = geometry.checked();
        // An offset that is reached already asks for no notification.
        for (field, value) in [
            (PRODUCER_STATE, 0),
            (SPACE_AT, base),
            (HEAD, base),
            (CONSUMER_STATE, 0),
            (DATA_AT, base),
            (TAIL, base),
        ] {
            geometry.store(memory, field, value);
        }
        Self {
            geometry,
            base,
            tail: base,
            head: base,
            announced: base,
            state: 0,
            sealable: false,
            sealed: false,
        }
    }

    /// Begins a ring in memory of the consumer, which may seal it.
    ///
    /// # Panics
    /// If the capacity is not a power of two.
    pub fn sealable<M: Memory>(memory: &M, geometry: Geometry, base: u64) -> Self {
        Self {
            sealable: true,
            ..Self::new(memory, geometry, base)
        }
    }

    /// Whether the consumer has sealed the ring. Nothing was published since, and
    /// nothing will be.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Copies the part of `bytes` that has room, publishes it, and returns its
    /// length: 0 if the ring is full, finished, reset or sealed.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn write<M: Memory>(&mut self, memory: &M, bytes: &[u8]) -> Result<usize, IndexLie> {
        if self.state != 0 || self.sealed {
            return Ok(0);
        }
        // The consumer's cache line is fetched only when it matters.
        if self.space() < bytes.len() {
            self.head(memory)?;
        }
        let count = bytes.len().min(self.space());
        if count > 0 {
            let distance = self.tail.wrapping_sub(self.base);
            self.geometry.copy_in(memory, distance, &bytes[..count]);
            let tail = self.tail.wrapping_add(count as u64);
            if self.sealable {
                // One exchange decides for both sides whether this counts.
                self.sealed = self.geometry.swap(memory, TAIL, tail) & SEALED != 0;
                if self.sealed {
                    return Ok(0);
                }
            } else {
                self.geometry.store(memory, TAIL, tail);
            }
            self.tail = tail;
        }
        Ok(count)
    }

    /// Whether the consumer waits for something published since the last call. If
    /// so, ring the doorbell.
    #[must_use = "a notification that is not sent is lost"]
    pub fn must_ring<M: Memory>(&mut self, memory: &M) -> bool {
        // The end counts as one more byte: a consumer that waits at the tail waits
        // for head + 1.
        let now = self.tail.wrapping_add(u64::from(self.state != 0));
        if now == self.announced {
            return false;
        }
        // Between the store of tail and the load of `data_at`; the consumer
        // has one between the store of `data_at` and the load of tail.
        memory.fence();
        let data_at = self.geometry.load(memory, DATA_AT);
        let due = reaches(self.announced, now, data_at);
        self.announced = now;
        due
    }

    /// Asks for a notification when `bytes` (the capacity at most) fit in. Returns
    /// `true` if there is room already: do not wait.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn wait_for_space<M: Memory>(
        &mut self,
        memory: &M,
        bytes: usize,
    ) -> Result<bool, IndexLie> {
        let bytes = bytes.clamp(1, self.geometry.capacity);
        if self.space() >= bytes {
            return Ok(true);
        }
        let missing = (bytes - self.space()) as u64;
        self.geometry
            .store(memory, SPACE_AT, self.head.wrapping_add(missing));
        memory.fence();
        self.head(memory)?;
        Ok(self.space() >= bytes)
    }

    /// FIN: ends the stream behind the bytes written so far.
    pub fn finish<M: Memory>(&mut self, memory: &M) {
        self.end(memory, FIN);
    }

    /// RESET: invalidates what was not read.
    pub fn reset<M: Memory>(&mut self, memory: &M) {
        self.end(memory, RESET);
    }

    fn end<M: Memory>(&mut self, memory: &M, bit: u64) {
        self.state |= bit;
        self.geometry.store(memory, PRODUCER_STATE, self.state);
    }

    /// Returns the offset at which the ring began.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Returns the offset behind the last byte published.
    #[must_use]
    pub const fn tail(&self) -> u64 {
        self.tail
    }

    /// Returns the size of the ring in bytes.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.geometry.capacity
    }

    /// Fetches the offset up to which the consumer has taken the bytes.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn head<M: Memory>(&mut self, memory: &M) -> Result<u64, IndexLie> {
        let fetched = self.geometry.load(memory, HEAD);
        self.head = lie::head(fetched, self.head, self.tail)?;
        Ok(self.head)
    }

    /// Fetches the number of bytes that the consumer has not taken. If the consumer
    /// lies, returns the number believed last.
    pub fn unconsumed<M: Memory>(&self, memory: &M) -> u64 {
        let fetched = self.geometry.load(memory, HEAD);
        let head = lie::head(fetched, self.head, self.tail).unwrap_or(self.head);
        self.tail.wrapping_sub(head)
    }

    /// Fetches whether the consumer has attached the ring.
    pub fn is_attached<M: Memory>(&self, memory: &M) -> bool {
        self.geometry.load(memory, CONSUMER_STATE) & ATTACHED != 0
    }

    /// Returns the number of free bytes, as seen last.
    #[must_use]
    pub const fn space(&self) -> usize {
        // The difference is at most the capacity: see `lie::head`.
        self.geometry.capacity - self.tail.wrapping_sub(self.head) as usize
    }

    /// Returns the bytes published since the last call of `must_ring`; an end
    /// counts as one.
    #[must_use]
    pub const fn unannounced(&self) -> usize {
        let end = (self.state != 0) as u64;
        self.tail.wrapping_add(end).wrapping_sub(self.announced) as usize
    }

    /// Copies written bytes back out, from the stream offset `offset` to the tail,
    /// `into.len()` at most, and returns how many. 0: the byte at `offset` is not
    /// in the ring any more, or not yet.
    ///
    /// The consumer can write here too, and spoil what it will be sent.
    pub fn read_back<M: Memory>(&self, memory: &M, offset: u64, into: &mut [u8]) -> usize {
        let written = self.tail.wrapping_sub(self.base);
        let left = self.tail.wrapping_sub(offset);
        if left > written || left > self.geometry.capacity_u64() {
            return 0;
        }
        let count = into.len().min(left as usize);
        let distance = offset.wrapping_sub(self.base);
        self.geometry.copy_out(memory, distance, &mut into[..count]);
        count
    }
}
