//! Bytes of rings that outlived their link (design rule R8): a sender keeps
//! those that the receiver may not have consumed, a receiver those that arrived
//! and were not read.

use alloc::vec::Vec;

use shared_memory::Memory;

use crate::error::PeerFault;
use crate::link::budget::Share;
use crate::platform::Platform;
use crate::ring::{Consumer, Producer, Taken};
use crate::wire::ring::PAGE;

/// A ring of a sender, without its link.
pub(crate) struct Unconfirmed<P: Platform> {
    pub(super) producer: Producer,
    pub(super) bytes: Bytes<P>,
    pub(super) share: Share,
}

/// What there is of the bytes in a sender's ring.
pub(super) enum Bytes<P: Platform> {
    /// All of them, in the ring's own pages.
    Region(P::Region),
    /// A copy of those from this stream offset on.
    Copied(u64, Vec<u8>),
    /// None of them: they are in pages of the receiver.
    Arrived,
}

/// Bytes that have arrived, by their stream offsets.
pub(crate) struct Unread<P: Platform> {
    /// Bytes before it are still to come from TCP.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) store: Store<P>,
}

pub(super) enum Store<P: Platform> {
    /// A copy, and how many bytes of it were read.
    Copied(Vec<u8>, usize),
    /// A sealed ring in memory of this guest.
    Ring {
        memory: P::Region,
        consumer: Consumer,
        share: Share,
    },
}

impl<P: Platform> Unread<P> {
    /// Reads from the stream offset `received`, which lies within; at least one
    /// byte if `into` has room.
    ///
    /// # Errors
    /// The ring was written to after it had been sealed.
    pub(super) fn read(&mut self, received: u64, into: &mut [u8]) -> Result<usize, PeerFault> {
        let left = usize::try_from(self.end - received).unwrap_or(usize::MAX);
        let count = left.min(into.len());
        match &mut self.store {
            Store::Copied(bytes, done) => {
                into[..count].copy_from_slice(&bytes[*done..*done + count]);
                *done += count;
                Ok(count)
            }
            Store::Ring {
                memory, consumer, ..
            } => match consumer.read(memory, &mut into[..count])? {
                Taken::Bytes(count) => Ok(count),
                // It was sealed with these bytes in it: its writer takes them back.
                Taken::Empty | Taken::Finished | Taken::Reset => Err(PeerFault::Index),
            },
        }
    }
}

impl<P: Platform> Unconfirmed<P> {
    /// Returns how many bytes the receiver had not consumed when it was last
    /// heard of.
    pub(super) fn unconsumed(&self) -> u64 {
        match &self.bytes {
            Bytes::Region(memory) => self.producer.unconsumed(memory),
            Bytes::Copied(_, bytes) => bytes.len() as u64,
            Bytes::Arrived => 0,
        }
    }
}

/// Writes one word of every page as it stands. What a peer has written through
/// its mapping is not in the log of pages to send (`xen/arch/x86/mm/paging.c`,
/// log-dirty mode); what this guest writes is.
pub(super) fn touch<P: Platform>(memory: &P::Region) {
    for offset in (0..memory.len()).step_by(PAGE) {
        memory.fetch_or(offset, 0);
    }
}

/// Copies what the receiver may not have taken of a ring in its pages.
pub(super) fn copy_back<P: Platform>(producer: &mut Producer, memory: &P::Mapping) -> Bytes<P> {
    // If the owner lies about what it took, everything is copied.
    let from = producer.head(memory).unwrap_or(producer.base());
    let mut bytes = Vec::new();
    // Nothing is read back beyond the capacity.
    let len = usize::try_from(producer.tail() - from).unwrap_or(usize::MAX);
    if len > producer.capacity() || bytes.try_reserve_exact(len).is_err() {
        return Bytes::Arrived;
    }
    bytes.resize(len, 0);
    if producer.read_back(memory, from, &mut bytes) != len {
        return Bytes::Arrived;
    }
    Bytes::Copied(from, bytes)
}

/// Returns what was written into `rings` from `offset` on: everything, if the
/// receiver has not come to the first of them. Returns `None` if it is not there
/// any more.
pub(super) fn residue<P: Platform>(rings: &[Unconfirmed<P>], offset: u64) -> Option<Vec<u8>> {
    let mut from = offset.max(rings.first()?.producer.base());
    let mut residue = Vec::new();
    for ring in rings {
        let left = ring.producer.tail().saturating_sub(from);
        if left == 0 {
            continue;
        }
        let left = usize::try_from(left).ok()?;
        let start = residue.len();
        residue.try_reserve_exact(left).ok()?;
        residue.resize(start + left, 0);
        let into = &mut residue[start..];
        match &ring.bytes {
            Bytes::Region(memory) => {
                if ring.producer.read_back(memory, from, into) != left {
                    return None;
                }
            }
            Bytes::Copied(first, bytes) => {
                let skip = usize::try_from(from.checked_sub(*first)?).ok()?;
                into.copy_from_slice(bytes.get(skip..)?.get(..left)?);
            }
            Bytes::Arrived => return None,
        }
        from = ring.producer.tail();
    }
    // A receiver cannot have taken what was not written.
    (offset <= rings.last()?.producer.tail()).then_some(residue)
}
