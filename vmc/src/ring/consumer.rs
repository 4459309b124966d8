//! The reading end; as a rule it has mapped the producer's memory.

use super::IndexLie;
use super::layout::{
    ATTACHED, CONSUMER_STATE, DATA_AT, FIN, Geometry, HEAD, PRODUCER_STATE, RESET, SEALED,
    SPACE_AT, TAIL, reaches,
};
use super::lie;
use shared_memory::Memory;

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// This many bytes were copied.
    Bytes(usize),
    /// There is nothing now.
    Empty,
    /// There is nothing, and nothing will come: the producer has finished.
    Finished,
    /// The producer has reset the stream.
    Reset,
}

/// How the producer has ended the stream, as seen last. Ends are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// The believed tail is final and is not fetched again.
    Finished,
    /// The same, but the stream continues on another path.
    Sealed,
    Reset,
}

/// The consumer's end of a ring.
#[derive(Debug)]
pub struct Consumer {
    geometry: Geometry,
    base: u64,
    head: u64,
    /// The producer's tail, as believed last.
    tail: u64,
    /// The offset up to which `must_ring` has looked.
    announced: u64,
    end: End,
}

impl Consumer {
    /// Returns the reading end of a ring that begins at the stream offset `base`.
    ///
    /// # Panics
    /// If the capacity is not a power of two. The capacity is this guest's choice,
    /// never the peer's.
    #[must_use]
    pub const fn new(geometry: Geometry, base: u64) -> Self {
        Self {
            geometry: geometry.checked(),
            base,
            head: base,
            tail: base,
            announced: base,
            end: End::NotYet,
        }
    }

    /// Tells the producer that the ring is mapped and read.
    pub fn attach<M: Memory>(&self, memory: &M) {
        self.geometry.store(memory, CONSUMER_STATE, ATTACHED);
    }

    /// Ends a ring in this side's memory at its present tail, regardless of what the
    /// producer is doing: what it has published counts, what it publishes from now
    /// on does not, and it sees that. Returns the offset of the end.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn seal<M: Memory>(&mut self, memory: &M) -> Result<u64, IndexLie> {
        if self.end == End::NotYet {
            let fetched = self.geometry.fetch_or(memory, TAIL, SEALED) & !SEALED;
            let capacity = self.geometry.capacity_u64();
            self.tail = lie::tail(fetched, self.tail, self.head, capacity)?;
            self.end = End::Sealed;
            // An end that the producer stored before still counts.
            self.fetch(memory)?;
        }
        Ok(self.tail)
    }

    /// Takes what there is, `into.len()` bytes at most.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn read<M: Memory>(&mut self, memory: &M, into: &mut [u8]) -> Result<Taken, IndexLie> {
        // The producer's cache line is fetched only when it matters, so a RESET is
        // seen behind bytes that were known before it.
        let known = self.readable();
        if known == 0 || known < into.len() {
            self.fetch(memory)?;
        }
        Ok(match (self.end, self.readable()) {
            (End::Reset, _) => Taken::Reset,
            (End::Finished, 0) => Taken::Finished,
            (End::NotYet | End::Sealed, 0) => Taken::Empty,
            (_, readable) => {
                let count = readable.min(into.len());
                self.take(memory, &mut into[..count]);
                Taken::Bytes(count)
            }
        })
    }

    /// Like `read`, but takes nothing from the stream offset `end` on, which comes
    /// on another path. Returns [`Taken::Empty`] if the head is there already.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn read_until<M: Memory>(
        &mut self,
        memory: &M,
        into: &mut [u8],
        end: u64,
    ) -> Result<Taken, IndexLie> {
        let left = end.saturating_sub(self.head);
        if left == 0 {
            return Ok(Taken::Empty);
        }
        let limit = usize::try_from(left).unwrap_or(usize::MAX);
        let count = into.len().min(limit);
        self.read(memory, &mut into[..count])
    }

    fn take<M: Memory>(&mut self, memory: &M, into: &mut [u8]) {
        if into.is_empty() {
            return;
        }
        let distance = self.head.wrapping_sub(self.base);
        self.geometry.copy_out(memory, distance, into);
        self.head = self.head.wrapping_add(into.len() as u64);
        self.geometry.store(memory, HEAD, self.head);
    }

    /// Fetches the number of bytes that can be read now.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn available<M: Memory>(&mut self, memory: &M) -> Result<usize, IndexLie> {
        self.fetch(memory)?;
        Ok(match self.end {
            End::Reset => 0,
            _ => self.readable(),
        })
    }

    /// Whether the producer waits for space freed since the last call. If so, ring
    /// the doorbell.
    #[must_use = "a notification that is not sent is lost"]
    pub fn must_ring<M: Memory>(&mut self, memory: &M) -> bool {
        if self.head == self.announced {
            return false;
        }
        // Between the store of head and the load of `space_at`; the producer
        // has one between the store of `space_at` and the load of head.
        memory.fence();
        let space_at = self.geometry.load(memory, SPACE_AT);
        let due = reaches(self.announced, self.head, space_at);
        self.announced = self.head;
        due
    }

    /// Asks for a notification when there is something to read. Returns `true` if
    /// there is something already, bytes or an end: do not wait.
    ///
    /// # Errors
    /// [`IndexLie`]; close the channel.
    pub fn wait_for_data<M: Memory>(&mut self, memory: &M) -> Result<bool, IndexLie> {
        if self.end == End::NotYet && self.readable() == 0 {
            self.geometry
                .store(memory, DATA_AT, self.head.wrapping_add(1));
            memory.fence();
            self.fetch(memory)?;
        }
        Ok(self.end != End::NotYet || self.readable() > 0)
    }

    /// Returns the offset of the next byte to take.
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Returns the size of the ring in bytes.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.geometry.capacity
    }

    /// Returns the bytes taken since the last call of `must_ring`.
    #[must_use]
    pub const fn unannounced(&self) -> usize {
        self.head.wrapping_sub(self.announced) as usize
    }

    /// Returns the bytes known to be there; the capacity at most, see `lie::tail`.
    const fn readable(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }

    /// Fetches the state, then the tail. The producer stores the state last, so the
    /// tail fetched behind an end is final.
    fn fetch<M: Memory>(&mut self, memory: &M) -> Result<(), IndexLie> {
        if self.end == End::Reset {
            return Ok(());
        }
        let state = self.geometry.load(memory, PRODUCER_STATE);
        if self.end == End::NotYet {
            let fetched = self.geometry.load(memory, TAIL);
            let capacity = self.geometry.capacity_u64();
            self.tail = lie::tail(fetched, self.tail, self.head, capacity)?;
        }
        if state & RESET != 0 {
            self.end = End::Reset;
        } else if state & FIN != 0 {
            self.end = End::Finished;
        }
        Ok(())
    }
}
