//! A link ends in a suspend, and nobody waits for the other side (design rules
//! R8, R10, R11). Whoever owns a ring keeps it: a sender the bytes that the
//! receiver may not have consumed, a receiver those that have arrived and were
//! not read. When the two have named their offsets to each other (`finish_mig`),
//! they go on over TCP from there.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Conn, Path};
use crate::channel::Vmc;
use crate::limits::PAGE;
use crate::output::{Cause, Step};
use crate::platform::Platform;
use crate::ring::{Consumer, Producer, Taken};
use crate::vms::control::FROZEN;
use crate::vms::datagram::Nonce;
use crate::vms::link::Link;
use crate::vms::memory::Pages;
use crate::vms::peer_rings::PeerRing;
use crate::vms::rings::pages;
use shared_memory::Memory;

/// Names a link that has ended in a suspend: its nonce B, which two guests know.
pub(crate) type Epoch = Nonce;

/// Suspends that a connection has to settle with its peer.
pub(crate) type Epochs = heapless::Vec<Epoch, 4>;

/// A ring of a sender's without its link.
pub(crate) struct Kept<P: Platform> {
    producer: Producer,
    bytes: Bytes<P>,
    pages: usize,
}

/// What there is of the bytes in a sender's ring.
enum Bytes<P: Platform> {
    /// Its own pages.
    Region(P::Region),
    /// A copy, of those from this stream offset on.
    Copied(u64, Vec<u8>),
    /// Nothing: they are in pages of the receiver's.
    Arrived,
}

/// Bytes that have arrived, by their stream offsets.
pub(crate) struct Part<P: Platform> {
    /// Before it comes what TCP still has to bring.
    pub(crate) start: u64,
    pub(crate) end: u64,
    store: Store<P>,
}

enum Store<P: Platform> {
    /// A copy; the number of bytes read of it.
    Copied(Vec<u8>, usize),
    /// A sealed ring in memory of this guest's.
    Ring {
        memory: P::Region,
        consumer: Consumer,
        pages: usize,
    },
}

/// Rings that a receiver lets go of, and the offsets that it names for them.
pub(crate) type Answers = heapless::Vec<(u16, u64), 2>;

impl<P: Platform> Part<P> {
    /// Bytes into `into`, at least one where there is room: `received` lies
    /// within it.
    ///
    /// # Errors
    /// The ring was written to after it had been sealed.
    pub(crate) fn read(&mut self, received: u64, into: &mut [u8]) -> Result<usize, Cause> {
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
                Taken::Empty | Taken::Finished | Taken::Reset => Err(Cause::IndexLie),
            },
        }
    }
}

/// Writes one word of every page as it stands. What a peer has written through
/// its mapping is not in the log of pages to send (`xen/arch/x86/mm/paging.c`,
/// log-dirty mode); what this guest writes is.
fn touch<P: Platform>(memory: &P::Region) {
    for offset in (0..memory.len()).step_by(PAGE) {
        memory.fetch_or(offset, 0);
    }
}

/// The receiver of a connection reads the rings of a link no longer. What lies
/// in rings of its own stays its own, and is sealed; what it has not taken from
/// others the sender has.
///
/// # Errors
/// What the peer has lied about; the connection is lost then.
pub(crate) fn let_go_of_rings<P: Platform>(
    conn: &mut Conn<P>,
    link: &mut Link<P>,
) -> Result<Answers, Cause> {
    let sources = core::mem::take(&mut conn.recver.rings);
    let mut answers = Answers::new();
    let mut confirmed = None;
    for (position, source) in sources.iter().enumerate() {
        let start = conn.recver.consumed(*source);
        let next = sources.get(position + 1);
        let part = if link.owns_peer_ring(source.ring) {
            Some(sealed(link, source.ring, start)?)
        } else {
            // The bytes behind it are here already.
            let next = next.filter(|next| link.owns_peer_ring(next.ring));
            next.map(|next| copied(link, source.ring, start, next.base))
                .transpose()?
        };
        let offset = part.as_ref().map_or(start, |part| part.end);
        let is_whole = next.is_none_or(|next| next.base == offset);
        if part.is_some() || confirmed.is_none() {
            confirmed = Some(offset);
        }
        let was_part = part.is_some();
        conn.rest.extend(part);
        if was_part && !is_whole {
            return Err(Cause::BadMessage);
        }
        let _ = answers.push((source.ring, offset));
    }
    if let Some(confirmed) = confirmed {
        conn.recver.confirmed = confirmed;
    }
    Ok(answers)
}

/// A ring in pages of this guest's, from `start` to where it is sealed.
fn sealed<P: Platform>(link: &mut Link<P>, number: u16, start: u64) -> Result<Part<P>, Cause> {
    let place = link.peers.get_mut(usize::from(number));
    let place = place.ok_or(Cause::BadMessage)?;
    let end = match place {
        Some(ring) => match (&ring.memory, &mut ring.consumer) {
            (Some(memory), Some(consumer)) => consumer.seal(memory)?,
            _ => return Err(Cause::BadMessage),
        },
        None => return Err(Cause::BadMessage),
    };
    match place.take().map(|ring| *ring) {
        Some(PeerRing {
            memory: Some(Pages::Own(memory)),
            consumer: Some(consumer),
            log2,
            ..
        }) => {
            link.granted_pages -= pages(log2);
            link.used = link.used.saturating_sub(1);
            if start < end {
                // The peer writes no more that counts.
                touch::<P>(&memory);
            }
            Ok(Part {
                start,
                end,
                store: Store::Ring {
                    memory,
                    consumer,
                    pages: pages(log2),
                },
            })
        }
        other => {
            *place = other.map(Box::new);
            Err(Cause::BadMessage)
        }
    }
}

/// The bytes from `start` to `end` of a ring in pages of the peer's.
fn copied<P: Platform>(
    link: &mut Link<P>,
    number: u16,
    start: u64,
    end: u64,
) -> Result<Part<P>, Cause> {
    let ring = link.peers.get_mut(usize::from(number));
    let ring = ring.and_then(Option::as_mut).ok_or(Cause::BadMessage)?;
    let (Some(memory), Some(consumer)) = (&ring.memory, &mut ring.consumer) else {
        return Err(Cause::BadMessage);
    };
    let mut bytes = Vec::new();
    let len = usize::try_from(end - start).map_err(|_| Cause::BadMessage)?;
    // What a ring holds at most; the writer went on behind it.
    if len > consumer.capacity() || bytes.try_reserve_exact(len).is_err() {
        return Err(Cause::BadMessage);
    }
    bytes.resize(len, 0);
    if len > 0 && consumer.read(memory, &mut bytes)? != Taken::Bytes(len) {
        return Err(Cause::BadMessage);
    }
    Ok(Part {
        start,
        end,
        store: Store::Copied(bytes, 0),
    })
}

impl<P: Platform> Vmc<P> {
    /// A connection outlives its link, which ends in a suspend: each side keeps
    /// what it owns until both have named their offsets.
    pub(crate) fn cast_off(&mut self, at: usize, link: &mut Link<P>) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let mut is_lie = let_go_of_rings(conn, link).is_err();
        let is_frozen = link.peer_state() == FROZEN;
        for number in core::mem::take(&mut conn.sender.rings) {
            let place = link.own.get_mut(usize::from(number));
            let Some(mut ring) = place.and_then(Option::take) else {
                is_lie = true;
                continue;
            };
            conn.kept.push(Kept {
                pages: pages(ring.log2),
                bytes: match ring.memory {
                    Pages::Own(region) => Bytes::Region(region),
                    // Its owner may not know yet that there is something, or
                    // may not want it.
                    Pages::Peers(mapping)
                        if is_frozen || !ring.producer.consumer_state(&mapping).attached =>
                    {
                        copy_back(&mut ring.producer, &mapping)
                    }
                    Pages::Peers(_) => Bytes::Arrived,
                },
                producer: ring.producer,
            });
        }
        if !conn.kept.is_empty() {
            conn.sender.path = Path::Unconfirmed;
        }
        if is_lie || conn.handovers.push(link.nonce_b).is_err() {
            self.lose(at);
        } else {
            self.wake_reader(at);
        }
    }

    /// `finish_mig` for one connection: its peer has named the offset that it
    /// takes bytes from. What was written behind it goes into TCP.
    pub(crate) fn resolve(&mut self, at: usize, epoch: &Epoch, offset: u64) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let Some(position) = conn.handovers.iter().position(|one| one == epoch) else {
            return;
        };
        conn.handovers.remove(position);
        if conn.kept.is_empty() {
            return;
        }
        let residue = if conn.sender.sunk {
            Some(Vec::new())
        } else {
            residue(&conn.kept, offset)
        };
        let kept = core::mem::take(&mut conn.kept);
        match residue {
            Some(residue) => {
                // What an earlier ring of it has left comes first.
                conn.sender.residue.extend_from_slice(&residue);
                conn.sender.path = Path::Residue;
                let address = conn.tuple.remote.ip();
                self.trace_step(address, Step::Confirmed, residue.len() as u64);
                self.stats.fallbacks += 1;
                self.leave_ring(at);
            }
            None => self.lose(at),
        }
        self.take_back_kept(kept);
    }

    /// This guest may be another domain now: what it keeps is granted to nobody
    /// any more.
    pub(crate) fn forget_grants(&mut self) {
        let (platform, stats) = (&self.platform, &mut self.stats);
        let mut forget = |region: &P::Region, pages: &mut usize| {
            if platform.is_stale(region) {
                stats.granted_pages -= core::mem::take(pages);
            }
        };
        for (_, conn) in self.conns.iter_mut() {
            for ring in &mut conn.kept {
                if let Bytes::Region(memory) = &ring.bytes {
                    forget(memory, &mut ring.pages);
                }
            }
            for part in &mut conn.rest {
                if let Store::Ring { memory, pages, .. } = &mut part.store {
                    forget(memory, pages);
                }
            }
        }
    }

    fn take_back_kept(&mut self, kept: Vec<Kept<P>>) {
        for ring in kept {
            if let Bytes::Region(memory) = ring.bytes {
                self.take_back(memory, ring.pages);
            }
        }
    }

    /// The receiver has come to the end of the first part.
    pub(crate) fn end_part(&mut self, at: usize) {
        let part = self
            .conns
            .get_mut(at)
            .and_then(|conn| conn.rest.pop_front());
        if let Some(Part {
            store: Store::Ring { memory, pages, .. },
            ..
        }) = part
        {
            self.take_back(memory, pages);
        }
    }

    /// Gives up everything that a connection keeps.
    pub(crate) fn drop_kept(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        conn.handovers.clear();
        let kept = core::mem::take(&mut conn.kept);
        self.take_back_kept(kept);
        while self.conns.get(at).is_some_and(|conn| !conn.rest.is_empty()) {
            self.end_part(at);
        }
    }
}

impl<P: Platform> Conn<P> {
    /// Whether bytes of it depend on what its peer has to say.
    pub(crate) const fn is_in_between(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Bytes in kept rings that the receiver had not consumed when it was last
    /// heard of.
    pub(crate) fn unconsumed_kept(&self) -> u64 {
        let bytes = |ring: &Kept<P>| match &ring.bytes {
            Bytes::Region(memory) => ring.producer.unconsumed(memory),
            Bytes::Copied(_, bytes) => bytes.len() as u64,
            Bytes::Arrived => 0,
        };
        self.kept.iter().map(bytes).sum()
    }
}

/// What the receiver may not have taken of a ring in its pages.
fn copy_back<P: Platform>(producer: &mut Producer, memory: &P::Mapping) -> Bytes<P> {
    // Where its owner lies about what it took, all of it is kept.
    let from = producer.head(memory).unwrap_or(producer.base());
    let mut bytes = Vec::new();
    // At most the capacity, or nothing is read back.
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

/// What was written into rings from `offset` on; all where the receiver has
/// not come to the first of them. None: it is not there.
fn residue<P: Platform>(kept: &[Kept<P>], offset: u64) -> Option<Vec<u8>> {
    let mut from = offset.max(kept.first()?.producer.base());
    let mut residue = Vec::new();
    for ring in kept {
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
    (offset <= kept.last()?.producer.tail()).then_some(residue)
}
