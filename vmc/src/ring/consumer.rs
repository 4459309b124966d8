//! The end that reads; as a rule it has mapped the producer's memory.

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
    /// So many bytes were copied.
    Bytes(usize),
    /// There is nothing at present.
    Empty,
    /// There is nothing, and nothing will come: the producer has finished.
    Finished,
    /// The producer has reset the stream.
    Reset,
}

/// How the producer has ended the stream, as last seen. It does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// The believed tail is the last one and is not fetched again.
    Finished,
    /// The same, but the stream goes on by another way.
    Sealed,
    Reset,
}

/// The consumer's end of a ring.
#[derive(Debug)]
pub struct Consumer {
    geometry: Geometry,
    base: u64,
    head: u64,
    /// The producer's tail, as last believed.
    tail: u64,
    /// The head up to which `must_ring` has looked.
    announced: u64,
    end: End,
}

impl Consumer {
    /// Reads a ring that begins at the stream offset `base`.
    ///
    /// # Panics
    /// Where the capacity is no power of two; it is ours, never the peer's.
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

    /// Ends a ring in memory of this side's where it stands, whatever the
    /// producer is doing: what it has published counts, what it publishes from
    /// now on does not, and it sees that. Returns the offset of the end.
    ///
    /// # Errors
    /// [`IndexLie`]; the channel is to be closed.
    pub fn seal<M: Memory>(&mut self, memory: &M) -> Result<u64, IndexLie> {
        if self.end == End::NotYet {
            let fetched = self.geometry.fetch_or(memory, TAIL, SEALED) & !SEALED;
            let capacity = self.geometry.capacity_u64();
            self.tail = lie::tail(fetched, self.tail, self.head, capacity)?;
            self.end = End::Sealed;
            // An end that the producer stored before stands.
            self.fetch(memory)?;
        }
        Ok(self.tail)
    }

    /// Takes what there is, up to the size of `into`.
    ///
    /// # Errors
    /// [`IndexLie`]; the channel is to be closed.
    pub fn read<M: Memory>(&mut self, memory: &M, into: &mut [u8]) -> Result<Taken, IndexLie> {
        // The producer's cache line is fetched only when it matters. So a
        // RESET is seen behind bytes that were there before it.
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

    /// Like `read`, but takes nothing from the stream offset `end` on: that
    /// comes by another way. [`Taken::Empty`] where the head is there already.
    ///
    /// # Errors
    /// [`IndexLie`]; the channel is to be closed.
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

    /// Bytes that can be read now.
    ///
    /// # Errors
    /// [`IndexLie`]; the channel is to be closed.
    pub fn available<M: Memory>(&mut self, memory: &M) -> Result<usize, IndexLie> {
        self.fetch(memory)?;
        Ok(match self.end {
            End::Reset => 0,
            _ => self.readable(),
        })
    }

    /// Whether the producer waits for space that was made since the last
    /// call: then the doorbell is to be rung.
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

    /// Asks for a notification when there is something to read. True means:
    /// do not wait, there is something already, bytes or an end.
    ///
    /// # Errors
    /// [`IndexLie`]; the channel is to be closed.
    pub fn wait_for_data<M: Memory>(&mut self, memory: &M) -> Result<bool, IndexLie> {
        if self.end == End::NotYet && self.readable() == 0 {
            self.geometry
                .store(memory, DATA_AT, self.head.wrapping_add(1));
            memory.fence();
            self.fetch(memory)?;
        }
        Ok(self.end != End::NotYet || self.readable() > 0)
    }

    /// The offset of the next byte to take.
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Size of the ring in bytes.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.geometry.capacity
    }

    /// Bytes taken since `must_ring` was last called.
    #[must_use]
    pub const fn unannounced(&self) -> usize {
        self.head.wrapping_sub(self.announced) as usize
    }

    /// Bytes known to be there; at most the capacity, see `lie::tail`.
    const fn readable(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }

    /// The state first: it is stored last, so with an end in it the tail that
    /// is fetched then is the last one.
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
