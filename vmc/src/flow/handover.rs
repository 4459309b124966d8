//! A link ends in a suspend, and nobody waits for the other side (design rules
//! R8, R10, R11). Each side retains the bytes that it owns. When both have named
//! their offsets to each other (`finish_mig`, in `suspend::resume`), they go on
//! over TCP from there.

use alloc::vec::Vec;

use super::conn::{Conn, Ended, Fin, Path};
use super::retained::{Bytes, Store, Unconfirmed, Unread, copy_back, residue, touch};
use super::table::Conns;
use super::view::Flow;
use crate::error::{Bug, Failure, PeerFault};
use crate::guest::Guest;
use crate::keys::LinkKey;
use crate::link::budget::{Pool, Share};
use crate::link::{Link, Pages};
use crate::platform::Platform;
use crate::ring::Taken;
use crate::stream::Pair;
use crate::suspend::phase::Phase;
use crate::wire::RingNumber;
use crate::wire::control::SideState;
use crate::wire::resume::{Epoch, UNKNOWN};

/// Why unread bytes could not be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRetained {
    Failure(Failure),
    /// This guest has no memory for a copy.
    NoMemory,
}

impl<F: Into<Failure>> From<F> for NotRetained {
    fn from(failure: F) -> Self {
        Self::Failure(failure.into())
    }
}

/// Rings that a receiver lets go of, and the offsets that it names for them.
pub(super) type Answers = heapless::Vec<(RingNumber, u64), 2>;

impl<P: Platform> Conns<P> {
    /// The connections of a link outlive it: they retain what they own. Those
    /// without rings on either side have nothing to settle. Returns the addresses of
    /// those that retain something.
    pub(crate) fn retain(
        &mut self,
        key: LinkKey,
        link: &mut Link<P>,
        guest: &mut Guest<P>,
    ) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for conn in self.users_of(key, link) {
            let flow = self.flow_over(conn, link, guest);
            if let Some(mut flow) = flow.filter(|flow| !flow.conn.ended) {
                flow.retain();
                let pair = flow.conn.tuple.pair();
                if !pairs.contains(&pair) {
                    pairs.push(pair);
                }
            }
        }
        pairs
    }
}

impl<P: Platform> Flow<'_, P> {
    /// The receiver reads its rings no longer. What lies in rings of its own
    /// pages is sealed and stays; what it has not taken from others the sender
    /// has. Returns the offsets to name for the rings.
    ///
    /// # Errors
    /// [`NotRetained`]; the connection is lost then.
    #[inline(never)]
    pub(super) fn retain_unread(&mut self) -> Result<Answers, NotRetained> {
        let Some(link) = self.link.as_deref_mut() else {
            return Ok(Answers::new());
        };
        let recver = &mut self.conn.recver;
        let sources = core::mem::take(&mut recver.rings);
        let mut answers = Answers::new();
        let mut confirmed = None;
        for (position, source) in sources.iter().enumerate() {
            let start = recver.consumed(*source);
            let next = sources.get(position + 1);
            let unread = if link.owns_peer_ring(source.ring) {
                Some(seal(link, source.ring, start)?)
            } else {
                // The bytes of a next ring in own pages are here already.
                let next = next.filter(|next| link.owns_peer_ring(next.ring));
                next.map(|next| copy(link, source.ring, start, next.base))
                    .transpose()?
            };
            let offset = unread.as_ref().map_or(start, |unread| unread.end);
            let is_whole = next.is_none_or(|next| next.base == offset);
            if unread.is_some() || confirmed.is_none() {
                confirmed = Some(offset);
            }
            let is_retained = unread.is_some();
            recver.unread.extend(unread);
            if is_retained && !is_whole {
                return Err(PeerFault::Message.into());
            }
            // As many answers as rings: two at most.
            let _ = answers.push((source.ring, offset));
        }
        if let Some(confirmed) = confirmed {
            recver.confirmed = confirmed;
        }
        Ok(answers)
    }

    /// The connection outlives its link, which ends in a suspend: each side
    /// retains what it owns until both have named their offsets.
    #[inline(never)]
    pub(crate) fn retain(&mut self) {
        let retained = self.retain_unread();
        if let Err(NotRetained::Failure(Failure::Bug(bug))) = retained {
            self.guest.note_bug(bug);
        }
        let mut is_lost = retained.is_err();
        let Some(link) = self.link.as_deref_mut() else {
            return;
        };
        let sender = &mut self.conn.sender;
        let is_frozen = link.peer_state() == SideState::Frozen;
        for number in core::mem::take(&mut sender.rings) {
            let place = link.own.get_mut(number.index());
            let Some(mut ring) = place.and_then(Option::take) else {
                self.guest.note_bug(Bug("a sender's ring is on its link"));
                is_lost = true;
                continue;
            };
            let bytes = match ring.memory {
                Pages::Own(region) => Bytes::Region(region),
                // The owner may not know yet that there is something, or may not
                // want it.
                Pages::Peers(mapping) if is_frozen || !ring.producer.is_attached(&mapping) => {
                    copy_back::<P>(&mut ring.producer, &mapping)
                }
                Pages::Peers(_) => Bytes::Arrived,
            };
            sender.unconfirmed.push(Unconfirmed {
                producer: ring.producer,
                bytes,
                share: link.share(ring.size),
            });
        }
        if !sender.unconfirmed.is_empty() {
            sender.path = Path::Unconfirmed;
        }
        let epoch = link.nonce_b;
        if is_lost || !self.conn.add_unsettled(epoch) {
            self.lose();
        } else {
            self.wake_reader();
        }
    }

    /// `finish_mig` for one connection: its peer has named the offset from which
    /// it takes bytes. What was written behind it goes into TCP.
    #[inline(never)]
    pub(crate) fn settle(&mut self, epoch: &Epoch, offset: u64, heard: u64) {
        let mut unsettled = self.conn.unsettled.iter();
        let Some(position) = unsettled.position(|one| one.epoch == *epoch) else {
            return;
        };
        let Ended { was_shared, .. } = self.conn.unsettled.remove(position);
        if self.conn.contradicts(was_shared, offset, heard) {
            self.end();
            return;
        }
        // TCP knows a connection that the peer's channel has never heard of.
        self.conn.is_forgotten |= offset == UNKNOWN && was_shared;
        let offset = if offset == UNKNOWN { 0 } else { offset };
        let sender = &mut self.conn.sender;
        sender.heard = sender.heard.max(offset);
        if sender.unconfirmed.is_empty() {
            self.trust(false);
            self.wake_reader();
            return;
        }
        let rings = core::mem::take(&mut sender.unconfirmed);
        match residue(&rings, offset) {
            Some(residue) => {
                // What an earlier ring has left comes first.
                sender.residue.extend_from_slice(&residue);
                sender.path = Path::Residue;
                let pair = self.conn.tuple.pair();
                let bytes = residue.len() as u64;
                self.guest.trace(pair, Phase::Confirmed, bytes);
                self.guest.stats.fallbacks += 1;
                self.leave_ring();
            }
            None => self.end(),
        }
        self.take_back(rings);
        self.trust(false);
    }

    /// This guest goes on after a suspend. Its image may be an old one, behind whose
    /// back the peer has moved bytes by rings that TCP's sequence numbers do not
    /// count. So TCP stands still until the peer has answered.
    pub(crate) fn doubt(&mut self, epoch: &Epoch) {
        let conn = &mut *self.conn;
        if conn.ended || conn.recver.finished && conn.sender.fin == Fin::Sent {
            return;
        }
        if !conn.is_unsettled(epoch) && !conn.add_unsettled(*epoch) {
            return;
        }
        conn.is_doubted = true;
        let sender = &mut conn.sender;
        if matches!(sender.path, Path::Tcp | Path::Residue) && sender.fin != Fin::Sent {
            sender.path = Path::Unconfirmed;
        }
    }

    /// TCP goes on: the peer has answered for every suspend, or, if `is_due`, had its
    /// time.
    pub(crate) fn trust(&mut self, is_due: bool) {
        let conn = &mut *self.conn;
        if conn.ended || !conn.is_doubted || !(is_due || conn.unsettled.is_empty()) {
            return;
        }
        conn.is_doubted = false;
        let sender = &mut conn.sender;
        if sender.path == Path::Unconfirmed
            && sender.unconfirmed.is_empty()
            && sender.rings.is_empty()
        {
            sender.path = Path::Residue;
            self.leave_ring();
        }
        self.wake_reader();
    }

    /// The peer has not named its offset in time.
    pub(crate) fn give_up(&mut self, epoch: &Epoch) {
        self.conn.unsettled.retain(|one| one.epoch != *epoch);
        if !self.conn.sender.unconfirmed.is_empty() {
            self.lose();
        }
        self.trust(false);
    }

    /// The connection ends as its link does, and both stay on this host.
    /// `is_over`: the peer has closed the link, or is dead; a ring that it has
    /// not attached by now it will never read.
    #[inline(never)]
    pub(crate) fn detach(&mut self, is_over: bool) {
        let is_untouched = is_over && self.conn.recver.rings.is_empty();
        let residue = if is_untouched { self.untouched() } else { None };
        self.conn.sender.rings.clear();
        self.conn.recver.rings.clear();
        if let Some(residue) = residue {
            self.conn.sender.residue = residue;
            self.conn.sender.path = Path::Residue;
            self.guest.stats.fallbacks += 1;
            self.leave_ring();
        } else {
            self.lose();
        }
    }

    /// Returns everything that the sender has written into rings if the peer has
    /// attached none of them: as if it had confirmed them at their bases.
    fn untouched(&self) -> Option<Vec<u8>> {
        let link = self.link.as_deref()?;
        let mut residue = Vec::new();
        for number in &self.conn.sender.rings {
            let ring = link.own_ring(*number)?;
            let producer = &ring.producer;
            if producer.is_attached(&ring.memory) {
                return None;
            }
            let len = usize::try_from(producer.tail() - producer.base()).ok()?;
            let start = residue.len();
            residue.try_reserve_exact(len).ok()?;
            residue.resize(start + len, 0);
            let into = &mut residue[start..];
            if producer.read_back(&ring.memory, producer.base(), into) != len {
                return None;
            }
        }
        Some(residue)
    }

    fn take_back(&mut self, rings: Vec<Unconfirmed<P>>) {
        for ring in rings {
            if let Bytes::Region(memory) = ring.bytes {
                self.guest.take_back(memory, ring.share);
            }
        }
    }

    /// The receiver has come to the end of the first retained bytes.
    pub(super) fn drop_first_unread(&mut self) {
        let unread = self.conn.recver.unread.pop_front();
        if let Some(Unread {
            store: Store::Ring { memory, share, .. },
            ..
        }) = unread
        {
            self.guest.take_back(memory, share);
        }
    }

    /// Gives up everything that the connection retains.
    #[inline(never)]
    pub(super) fn drop_retained(&mut self) {
        self.guest.has_let_go |= !self.conn.unsettled.is_empty();
        self.conn.unsettled.clear();
        let rings = core::mem::take(&mut self.conn.sender.unconfirmed);
        self.take_back(rings);
        while !self.conn.recver.unread.is_empty() {
            self.drop_first_unread();
        }
    }
}

impl<P: Platform> Conn<P> {
    /// Notes that a link has ended in a suspend; returns whether there is room.
    fn add_unsettled(&mut self, epoch: Epoch) -> bool {
        let was_shared = self.is_shared;
        self.unsettled.push(Ended { epoch, was_shared }).is_ok()
    }

    /// Whether the peer has yet to name its offset for a link that has ended.
    pub(crate) fn is_unsettled(&self, epoch: &Epoch) -> bool {
        self.unsettled.iter().any(|one| one.epoch == *epoch)
    }

    /// Whether what the peer says after a suspend cannot be: it has more than this
    /// side has written, or was told more than this side knows of, or does not know
    /// a connection that it had. One of the two is not the guest that it was: it was
    /// restored from an older image, or has booted anew. What is late or repeated
    /// says less than the truth, and contradicts nothing.
    const fn contradicts(&self, was_shared: bool, offset: u64, heard: u64) -> bool {
        match offset {
            // One that both have closed is forgotten in order.
            UNKNOWN => was_shared && !matches!(self.sender.fin, Fin::Sent),
            offset => offset > self.sender.written || heard > self.recver.confirmed,
        }
    }

    /// This guest may be another domain now: what it retains is granted to
    /// nobody any more.
    pub(crate) fn forget_stale_grants(&mut self, platform: &P, pool: &mut Pool<P>) {
        let mut forget = |region: &P::Region, share: &mut Share| {
            if platform.is_stale(region) {
                pool.forget_granted(*share);
                share.pages = 0;
            }
        };
        for ring in &mut self.sender.unconfirmed {
            if let Bytes::Region(memory) = &ring.bytes {
                forget(memory, &mut ring.share);
            }
        }
        for unread in &mut self.recver.unread {
            if let Store::Ring { memory, share, .. } = &mut unread.store {
                forget(memory, share);
            }
        }
    }

    /// Returns the bytes written that are neither consumed by the peer nor in
    /// TCP.
    pub(crate) fn unconsumed(&self, link: Option<&Link<P>>) -> u64 {
        let in_ring = |number: &RingNumber| {
            let ring = link?.own_ring(*number)?;
            Some(ring.producer.unconsumed(&ring.memory))
        };
        let sender = &self.sender;
        let in_rings: u64 = sender.rings.iter().filter_map(in_ring).sum();
        let unconfirmed: u64 = sender.unconfirmed.iter().map(Unconfirmed::unconsumed).sum();
        in_rings + unconfirmed + (sender.residue.len() - sender.resent) as u64
    }
}

const READ: Bug = Bug("a ring that is read is on its link, and mapped");

/// Seals a ring in pages of this guest, and takes its bytes from `start` on out
/// of the link.
fn seal<P: Platform>(
    link: &mut Link<P>,
    number: RingNumber,
    start: u64,
) -> Result<Unread<P>, NotRetained> {
    let ring = link.peer_ring_mut(number).ok_or(READ)?;
    let (Some(memory), Some(consumer)) = (&ring.memory, &mut ring.consumer) else {
        return Err(READ.into());
    };
    let end = consumer.seal(memory)?;
    let ring = link.take_owned_peer_ring(number);
    let ring = *ring.ok_or(READ)?;
    let (Some(Pages::Own(memory)), Some(consumer)) = (ring.memory, ring.consumer) else {
        return Err(READ.into());
    };
    let share = link.share(ring.size);
    link.used = link.used.saturating_sub(1);
    if start < end {
        // What the peer writes from now on does not count.
        touch::<P>(&memory);
    }
    Ok(Unread {
        start,
        end,
        store: Store::Ring {
            memory,
            consumer,
            share,
        },
    })
}

/// Copies the bytes from `start` to `end` of a ring in pages of the peer.
fn copy<P: Platform>(
    link: &mut Link<P>,
    number: RingNumber,
    start: u64,
    end: u64,
) -> Result<Unread<P>, NotRetained> {
    let ring = link.peer_ring_mut(number).ok_or(READ)?;
    let (Some(memory), Some(consumer)) = (&ring.memory, &mut ring.consumer) else {
        return Err(READ.into());
    };
    let mut bytes = Vec::new();
    let len = usize::try_from(end - start).map_err(|_| PeerFault::Message)?;
    // A ring holds its capacity at most; the writer went on behind it.
    if len > consumer.capacity() {
        return Err(PeerFault::Message.into());
    }
    if bytes.try_reserve_exact(len).is_err() {
        return Err(NotRetained::NoMemory);
    }
    bytes.resize(len, 0);
    if len > 0 && consumer.read(memory, &mut bytes)? != Taken::Bytes(len) {
        return Err(PeerFault::Message.into());
    }
    Ok(Unread {
        start,
        end,
        store: Store::Copied(bytes, 0),
    })
}
