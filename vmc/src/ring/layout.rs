//! The layout of a ring, and the rule of notification.

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

/// Bit of the tail of a ring that its consumer owns: nothing published after it
/// counts.
pub(super) const SEALED: u64 = 1 << 63;

// Bit of the consumer's state.
pub(super) const ATTACHED: u64 = 1 << 0;

/// Position of a ring in its memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Offset of the header; a multiple of 8.
    pub header: usize,
    /// Offset of the data.
    pub data: usize,
    /// Size of the data; a power of two.
    pub capacity: usize,
}

impl Geometry {
    /// Returns the geometry itself.
    ///
    /// # Panics
    /// If the capacity is not a power of two. The capacity is this guest's choice,
    /// never the peer's.
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

    /// Copies `bytes` in, starting `distance` bytes behind the base.
    pub(super) fn copy_in<M: Memory>(self, memory: &M, distance: u64, bytes: &[u8]) {
        let at = self.position(distance);
        let (first, rest) = bytes.split_at(bytes.len().min(self.capacity - at));
        memory.write(self.data + at, first);
        if !rest.is_empty() {
            memory.write(self.data, rest);
        }
    }

    /// Copies bytes out, starting `distance` bytes behind the base.
    pub(super) fn copy_out<M: Memory>(self, memory: &M, distance: u64, into: &mut [u8]) {
        let at = self.position(distance);
        let (first, rest) = into.split_at_mut(into.len().min(self.capacity - at));
        memory.read(self.data + at, first);
        if !rest.is_empty() {
            memory.read(self.data, rest);
        }
    }

    /// Returns the offset in the data; it is below the capacity and fits a `usize`.
    const fn position(self, distance: u64) -> usize {
        (distance & (self.capacity_u64() - 1)) as usize
    }
}

/// Whether an index that moved from `from` to `to` has reached `at`, that is,
/// whether `from` < `at` <= `to`. The arithmetic holds for a base near 2^64, which
/// a peer may name.
pub(super) const fn reaches(from: u64, to: u64, at: u64) -> bool {
    at.wrapping_sub(from).wrapping_sub(1) < to.wrapping_sub(from)
}
