//! A link: the shared memory, the event channel and the rings that this guest
//! has in common with one peer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::bells::Bells;
use super::control::{self, Side};
use super::datagram::Nonce;
use super::memory::Pages;
use super::peer_rings::PeerRing;
use super::rings::OwnRing;
use crate::limits::{ASKED, FLOOD_WINDOW, LOOK_IDLE, LOOK_MIGRATING, LOOK_USED};
use crate::message::Message;
use crate::message::inbox::Inbox;
use crate::message::outbox::Outbox;
use crate::output::Cause;
use crate::platform::{DomId, Instant, Platform, Uuid};
use crate::ring::{Consumer, Producer};
use crate::slab::Key;
use crate::statistics::LinkCounters;

/// Name of a link; stale once it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) Key);

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
    pub(crate) memory: Pages<P>,
    pub(crate) port: P::Port,
    pub(crate) nonce_a: Nonce,
    pub(crate) nonce_b: Nonce,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    /// Rings that this side writes, by number; apart from each other, so that a
    /// suspend touches those only that there are.
    pub(crate) own: Vec<Option<Box<OwnRing<P>>>>,
    /// Numbers of those that no connection uses, the last used last.
    pub(crate) idle: Vec<u16>,
    /// Rings that the peer writes, by its numbers.
    pub(crate) peers: Vec<Option<Box<PeerRing<P>>>>,
    /// Rings in use, in both directions.
    pub(crate) used: usize,
    pub(crate) granted_pages: usize,
    pub(crate) mapped_pages: usize,
    /// Rings in pages of the peer's that were asked for: number and log2.
    pub(crate) asked: heapless::Vec<(u16, u8), ASKED>,
    /// Numbers of such that were granted and could not be mapped.
    pub(crate) disowned: heapless::Vec<u16, ASKED>,
    /// The peer has no room for such rings.
    pub(crate) homeless: bool,
    /// This guest's senders are where a migration wants them, and it was told.
    pub(crate) is_rehomed: bool,
    /// The peer is about to migrate.
    pub(crate) peer_migrates: bool,
    /// One of the two is: rings are small, and none is kept for later.
    pub(crate) is_lean: bool,
    /// When to look for connections without traffic.
    pub(crate) lean_at: Option<Instant>,
    /// Something that ends the link at the next turn.
    pub(crate) fault: Option<Cause>,
    /// The user knows of the link, and so the connections that it is to track.
    pub(crate) announced: bool,
    /// Messages were left in the ring when their share of a turn was used up.
    pub(crate) more: bool,
    /// When to look whether the peer lives.
    pub(crate) look_at: Instant,
    /// When a peer that takes no messages is given up.
    pub(crate) stuck_at: Option<Instant>,
    pub(super) bells: Bells,
    flood: Flood,
    pub(crate) counters: LinkCounters,
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
    pub(crate) fn new(ends: Ends, memory: Pages<P>, port: P::Port, until: Instant) -> Self {
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
            asked: heapless::Vec::new(),
            disowned: heapless::Vec::new(),
            homeless: false,
            is_rehomed: false,
            peer_migrates: false,
            is_lean: false,
            lean_at: None,
            fault: None,
            announced: false,
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

    /// Whether it is with this guest: address and domid are proved. A UUID
    /// alone is not, anybody may claim it.
    pub(crate) fn is_same(&self, address: IpAddr, uuid: Uuid, domid: DomId) -> bool {
        self.address == address || (self.uuid == uuid && self.domid == domid)
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

    /// Another ring is in use.
    pub(crate) fn note_use(&mut self, now: Instant) {
        self.used += 1;
        self.look_at = self.look_at.min(now.after(LOOK_USED));
    }

    /// When to look for a dead peer next.
    pub(crate) const fn next_look(&self, now: Instant) -> Instant {
        now.after(match (self.peer_migrates, self.used) {
            (_, 0) => LOOK_IDLE,
            (true, _) => LOOK_MIGRATING,
            (false, _) => LOOK_USED,
        })
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

    /// Says that this side is suspended. A peer that was told of it before, and uses the link,
    /// looks by itself: an event would have it run on this guest's processor in the middle of the
    /// suspend.
    pub(crate) fn freeze(&mut self, was_told: bool, platform: &P) {
        if was_told && self.used > 0 {
            control::set_state(&self.memory, self.side, control::FROZEN);
        } else {
            self.set_state(control::FROZEN, platform);
        }
    }

    pub(crate) fn peer_state(&self) -> u64 {
        control::peer_state(&self.memory, self.side)
    }
}
