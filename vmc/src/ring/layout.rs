//! What lies where in a ring, and the rule of notification.

use shared_memory::Memory;

/// Size of a ring's header in bytes.
pub const HEADER_BYTES: usize = 0x100;

// The producer's half of the header.
pub(super) const TAIL: usize = 0x00;
pub(super) const PRODUCER_STATE: usize = 0x08;
pub(super) const SPACE_AT: usize = 0x10;

// The consumer's half, two cache lines on: processors fetch lines in pairs.
pub(super) const HEAD: usize = 0x80;
pub(super) const CONSUMER_STATE: usize = 0x88;
pub(super) const DATA_AT: usize = 0x90;

// Bits of the producer's state.
pub(super) const FIN: u64 = 1 << 0;
pub(super) const RESET: u64 = 1 << 1;

/// In the tail of a ring that its consumer owns: what is published after it does not count.
pub(super) const SEALED: u64 = 1 << 63;

// Bit of the consumer's state.
pub(super) const ATTACHED: u64 = 1 << 0;

/// Where a ring lies in its memory; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Where the header begins; a multiple of 8.
    pub header: usize,
    /// Where the data begins.
    pub data: usize,
    /// Size of the data; a power of two.
    pub capacity: usize,
}

impl Geometry {
    /// The geometry itself, if it is one.
    ///
    /// # Panics
    /// Where the capacity is no power of two; it is ours, never the peer's.
    pub(super) const fn checked(self) -> Self {
        assert!(self.capacity.is_power_of_two());
        self
    }

    pub(super) const fn capacity_u64(self) -> u64 {
        self.capacity as u64
    }

    pub(super) fn load<M: Memory>(self, memory: &M, field: usize) -> u64 {
        memory.load(self.header + field)
    }

    pub(super) fn swap<M: Memory>(self, memory: &M, field: usize, value: u64) -> u64 {
        memory.swap(self.header + field, value)
    }

    pub(super) fn fetch_or<M: Memory>(self, memory: &M, field: usize, bits: u64) -> u64 {
        memory.fetch_or(self.header + field, bits)
    }

    pub(super) fn store<M: Memory>(self, memory: &M, field: usize, value: u64) {
        memory.store(self.header + field, value);
    }

    /// Copies `bytes` to where the byte `distance` behind the base lies.
    pub(super) fn copy_in<M: Memory>(self, memory: &M, distance: u64, bytes: &[u8]) {
        let at = self.position(distance);
        let (first, rest) = bytes.split_at(bytes.len().min(self.capacity - at));
        memory.write(self.data + at, first);
        if !rest.is_empty() {
            memory.write(self.data, rest);
        }
    }

    /// Copies out from where the byte `distance` behind the base lies.
    pub(super) fn copy_out<M: Memory>(self, memory: &M, distance: u64, into: &mut [u8]) {
        let at = self.position(distance);
        let (first, rest) = into.split_at_mut(into.len().min(self.capacity - at));
        memory.read(self.data + at, first);
        if !rest.is_empty() {
            memory.read(self.data, rest);
        }
    }

    /// Less than the capacity, so it fits a `usize`.
    const fn position(self, distance: u64) -> usize {
        (distance & (self.capacity_u64() - 1)) as usize
    }
}

/// Whether an index that moved from `from` to `to` has reached `at`: that is,
/// whether `from` < `at` <= `to`, in arithmetic that a base near the end of 64
/// bits, which a peer may well name, does not break.
pub(super) const fn reaches(from: u64, to: u64, at: u64) -> bool {
    at.wrapping_sub(from).wrapping_sub(1) < to.wrapping_sub(from)
}
