//! A link: the shared memory, the event channel and the rings that this guest
//! has in common with one peer.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::control::{self, Side};
use super::datagram::Nonce;
use super::rings::{OwnRing, PeerRing};
use crate::limits::{FLOOD_WINDOW, LOOK_IDLE, LOOK_USED};
use crate::memory::Memory;
use crate::message::inbox::Inbox;
use crate::message::outbox::Outbox;
use crate::message::{Message, doorbell};
use crate::output::Cause;
use crate::platform::{DomId, Instant, Platform, Uuid};
use crate::ring::{Consumer, Producer};
use crate::slab::Key;
use crate::statistics::LinkCounters;

/// Name of a link; stale once it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) Key);

/// The link region, whoever granted it.
pub(crate) enum LinkMemory<P: Platform> {
    Own(P::Region),
    Peers(P::Mapping),
}

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The other side has not proved itself.
    Proving {
        until: Instant,
    },
    Open,
    /// LEAVE was sent.
    Leaving {
        until: Instant,
        /// A LEAVE has come, too.
        heard: bool,
        cause: Cause,
    },
}

pub(crate) struct Link<P: Platform> {
    pub(crate) address: IpAddr,
    pub(crate) uuid: Uuid,
    pub(crate) domid: DomId,
    pub(crate) side: Side,
    pub(crate) phase: Phase,
    pub(crate) memory: LinkMemory<P>,
    pub(crate) port: P::Port,
    pub(crate) nonce_a: Nonce,
    pub(crate) nonce_b: Nonce,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    /// Rings that this side writes, by number.
    pub(crate) own: Vec<Option<OwnRing<P>>>,
    /// Numbers of those that no connection uses, the last used last.
    pub(crate) idle: Vec<u16>,
    /// Rings that the peer writes, by its numbers.
    pub(crate) peers: Vec<Option<PeerRing<P>>>,
    /// Rings in use, in both directions.
    pub(crate) used: usize,
    pub(crate) granted_pages: usize,
    pub(crate) mapped_pages: usize,
    /// Something that ends the link at the next turn.
    pub(crate) fault: Option<Cause>,
    /// Messages were left in the ring when their share of a turn was used up.
    pub(crate) more: bool,
    /// When to look whether the peer lives.
    pub(crate) look_at: Instant,
    /// When a peer that takes no messages is given up.
    pub(crate) stuck_at: Option<Instant>,
    bells: Bells,
    flood: Flood,
    pub(crate) counters: LinkCounters,
}

/// Notifications that were put off.
#[derive(Default)]
struct Bells {
    /// Own rings with bytes or an end that the peer was not told of.
    data: Vec<u16>,
    /// Peer's rings with space that the peer was not told of.
    space: Vec<u16>,
    /// Peer's rings whose producer is told in any case.
    attached: Vec<u16>,
    /// Messages were written or taken.
    messages: bool,
}

#[derive(Default)]
struct Flood {
    since: Instant,
    empty: u32,
    useful: u32,
}

pub(crate) struct Ends {
    pub(crate) address: IpAddr,
    pub(crate) uuid: Uuid,
    pub(crate) domid: DomId,
    pub(crate) side: Side,
    pub(crate) nonce_a: Nonce,
    pub(crate) nonce_b: Nonce,
}

impl<P: Platform> Link<P> {
    /// A link that waits for its proof. Writes the header of the outgoing
    /// message ring.
    pub(crate) fn new(ends: Ends, memory: LinkMemory<P>, port: P::Port, until: Instant) -> Self {
        let producer = Producer::new(&memory, ends.side.outgoing(), 0);
        let consumer = Consumer::new(ends.side.incoming(), 0);
        Self {
            address: ends.address,
            uuid: ends.uuid,
            domid: ends.domid,
            side: ends.side,
            phase: Phase::Proving { until },
            memory,
            port,
            nonce_a: ends.nonce_a,
            nonce_b: ends.nonce_b,
            outbox: Outbox::new(producer),
            inbox: Inbox::new(consumer),
            own: Vec::new(),
            idle: Vec::new(),
            peers: Vec::new(),
            used: 0,
            granted_pages: 0,
            mapped_pages: 0,
            fault: None,
            more: false,
            look_at: until,
            stuck_at: None,
            bells: Bells::default(),
            flood: Flood::default(),
            counters: LinkCounters::default(),
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(crate) const fn is_proving(&self) -> bool {
        matches!(self.phase, Phase::Proving { .. })
    }

    /// Sends a message; a peer that lies about the ring, or does not read, is
    /// found at the next turn.
    pub(crate) fn post(&mut self, message: &Message<'_>) {
        self.bells.messages = true;
        self.counters.messages_sent += 1;
        if let Err(cause) = self.outbox.post(&self.memory, message) {
            self.fault = Some(cause);
        }
    }

    /// Messages wait for room, and the peer was not asked to tell of it yet.
    pub(crate) const fn must_catch_up(&self) -> bool {
        self.outbox.is_behind() && self.stuck_at.is_none()
    }

    /// Messages were taken: the peer may wait for room.
    pub(crate) fn note_messages(&mut self) {
        self.bells.messages = true;
    }

    /// An own ring has something new. A quarter of it is announced at once.
    pub(crate) fn note_data(&mut self, number: u16, platform: &P) {
        let Some(Some(ring)) = self.own.get_mut(usize::from(number)) else {
            return;
        };
        if !ring.noted {
            ring.noted = true;
            self.bells.data.push(number);
        }
        if ring.producer.unannounced() >= ring.producer.capacity() / 4 {
            if ring.producer.must_ring(&ring.region) {
                doorbell::ring_data(&self.memory, self.side.peer_bell(), number);
                self.notify(platform);
            } else {
                self.counters.suppressed += 1;
            }
        }
    }

    /// Bytes were taken from a ring of the peer's.
    pub(crate) fn note_space(&mut self, number: u16, taken: usize, platform: &P) {
        let Some(Some(ring)) = self.peers.get_mut(usize::from(number)) else {
            return;
        };
        if !ring.noted {
            ring.noted = true;
            self.bells.space.push(number);
        }
        ring.unannounced += taken;
        let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.mapping.as_ref()) else {
            return;
        };
        if ring.unannounced >= consumer.capacity() / 4 {
            ring.unannounced = 0;
            if consumer.must_ring(mapping) {
                doorbell::ring_space(&self.memory, self.side.peer_bell(), number);
                self.notify(platform);
            } else {
                self.counters.suppressed += 1;
            }
        }
    }

    /// The producer of a peer's ring is to look at it, whether it waits or not.
    pub(crate) fn note_attached(&mut self, number: u16) {
        if !self.bells.attached.contains(&number) {
            self.bells.attached.push(number);
        }
    }

    /// Sends the notifications that were put off.
    pub(crate) fn flush(&mut self, platform: &P) {
        let bell = self.side.peer_bell();
        let mut due = false;
        let mut looked = false;
        while let Some(number) = self.bells.data.pop() {
            let Some(Some(ring)) = self.own.get_mut(usize::from(number)) else {
                continue;
            };
            ring.noted = false;
            looked = true;
            if ring.producer.must_ring(&ring.region) {
                doorbell::ring_data(&self.memory, bell, number);
                due = true;
            }
        }
        while let Some(number) = self.bells.space.pop() {
            let Some(Some(ring)) = self.peers.get_mut(usize::from(number)) else {
                continue;
            };
            ring.noted = false;
            ring.unannounced = 0;
            looked = true;
            if let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.mapping.as_ref())
                && consumer.must_ring(mapping)
            {
                doorbell::ring_space(&self.memory, bell, number);
                due = true;
            }
        }
        while let Some(number) = self.bells.attached.pop() {
            doorbell::ring_space(&self.memory, bell, number);
            due = true;
        }
        if core::mem::take(&mut self.bells.messages) {
            looked = true;
            let written = self.outbox.producer.must_ring(&self.memory);
            let taken = self.inbox.consumer.must_ring(&self.memory);
            if written || taken {
                doorbell::ring_messages(&self.memory, bell);
                due = true;
            }
        }
        if due {
            self.notify(platform);
        } else if looked {
            self.counters.suppressed += 1;
        }
    }

    fn notify(&mut self, platform: &P) {
        platform.notify(&self.port);
        self.counters.notifications += 1;
    }

    /// Another ring is in use.
    pub(crate) fn note_use(&mut self, now: Instant) {
        self.used += 1;
        self.look_at = self.look_at.min(now.after(LOOK_USED));
    }

    /// When to look for a dead peer next.
    pub(crate) const fn next_look(&self, now: Instant) -> Instant {
        now.after(if self.used > 0 { LOOK_USED } else { LOOK_IDLE })
    }

    /// Counts an event with an effect.
    pub(crate) const fn count_useful(&mut self) {
        self.flood.useful = self.flood.useful.saturating_add(1);
    }

    /// Counts an event without effect; true where there are too many.
    pub(crate) fn count_empty(&mut self, limit: u32, now: Instant) -> bool {
        if now >= self.flood.since.after(FLOOD_WINDOW) {
            self.flood = Flood {
                since: now,
                ..Flood::default()
            };
        }
        self.counters.empty_events += 1;
        self.flood.empty = self.flood.empty.saturating_add(1);
        self.flood.empty > limit && self.flood.empty / 4 > self.flood.useful
    }

    /// Says how this side is, and makes the other look.
    pub(crate) fn set_state(&mut self, state: u64, platform: &P) {
        control::set_state(&self.memory, self.side, state);
        self.notify(platform);
    }

    pub(crate) fn peer_state(&self) -> u64 {
        control::peer_state(&self.memory, self.side)
    }
}

impl<P: Platform> Memory for LinkMemory<P> {
    fn len(&self) -> usize {
        match self {
            Self::Own(memory) => memory.len(),
            Self::Peers(memory) => memory.len(),
        }
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        match self {
            Self::Own(memory) => memory.read(offset, into),
            Self::Peers(memory) => memory.read(offset, into),
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        match self {
            Self::Own(memory) => memory.write(offset, from),
            Self::Peers(memory) => memory.write(offset, from),
        }
    }

    fn load(&self, offset: usize) -> u64 {
        match self {
            Self::Own(memory) => memory.load(offset),
            Self::Peers(memory) => memory.load(offset),
        }
    }

    fn store(&self, offset: usize, value: u64) {
        match self {
            Self::Own(memory) => memory.store(offset, value),
            Self::Peers(memory) => memory.store(offset, value),
        }
    }

    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        match self {
            Self::Own(memory) => memory.fetch_or(offset, bits),
            Self::Peers(memory) => memory.fetch_or(offset, bits),
        }
    }

    fn swap(&self, offset: usize, value: u64) -> u64 {
        match self {
            Self::Own(memory) => memory.swap(offset, value),
            Self::Peers(memory) => memory.swap(offset, value),
        }
    }

    fn fence(&self) {
        match self {
            Self::Own(memory) => memory.fence(),
            Self::Peers(memory) => memory.fence(),
        }
    }
}
