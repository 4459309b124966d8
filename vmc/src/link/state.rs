//! A link: the shared memory, the event channel and the rings that this guest
//! has in common with one peer.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::inbox::Inbox;
use super::liveness::Liveness;
use super::outbox::Outbox;
use super::pages::Pages;
use super::ring::{Bells, OwnRing, PeerRing};
use crate::cause::Cause;
use crate::limits::{ASKED, LARGEST_RING_IN_MIGRATION};
use crate::platform::{DomId, Instant, Platform, Uuid};
use crate::ring::{Consumer, Producer};
use crate::statistics::{LinkCounters, LinkStatistics};
use crate::stream::Pair;
use crate::wire::control::{self, Side, SideState};
use crate::wire::{Message, Nonce, RingNumber, RingSize};

/// How far a link is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The other side has not proved itself.
    Proving {
        /// When it has had its time.
        until: Instant,
    },
    Open,
    /// LEAVE was sent.
    Leaving {
        /// When the link ends without an answer.
        until: Instant,
        /// The peer's LEAVE has come, too.
        heard: bool,
        cause: Cause,
    },
}

/// Bytes that a message without references or a frame has at most.
const SHORT: usize = 128;

pub(crate) struct Link<P: Platform> {
    /// The addresses by which the peer was found; others may have been added since
    /// (`Peers`).
    pub(crate) pair: Pair,
    pub(crate) uuid: Uuid,
    pub(crate) domid: DomId,
    pub(crate) side: Side,
    pub(crate) state: State,
    pub(crate) memory: Pages<P>,
    pub(crate) port: P::Port,
    pub(crate) nonce_a: Nonce,
    pub(crate) nonce_b: Nonce,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    /// Rings that this side writes, by number; boxed, so a suspend touches only
    /// rings that exist.
    pub(crate) own: Vec<Option<Box<OwnRing<P>>>>,
    /// Numbers of own rings that no connection uses, the last used one last.
    pub(crate) idle: Vec<RingNumber>,
    /// Rings that the peer writes, by its numbers.
    pub(crate) peers: Vec<Option<Box<PeerRing<P>>>>,
    /// Rings in use, in both directions.
    pub(crate) used: usize,
    /// Pages of the peer that are mapped for rings.
    pub(super) mapped: usize,
    /// Rings in pages of the peer that were asked for.
    pub(crate) asked: heapless::Vec<(RingNumber, RingSize), ASKED>,
    /// Numbers of rings that the peer granted and this side could not map; they
    /// are free again with RELEASED.
    pub(crate) unmappable: heapless::Vec<RingNumber, ASKED>,
    /// The peer has no room for rings in its pages.
    pub(crate) peer_has_no_room: bool,
    /// This guest's senders are where its migration wants them, and the user
    /// was told.
    pub(crate) is_rehomed: bool,
    /// The peer is about to migrate.
    pub(crate) peer_migrates: bool,
    /// When connections without traffic lose their rings.
    pub(crate) trim_at: Option<Instant>,
    /// Why the link ends at the next turn.
    pub(crate) fault: Option<Cause>,
    /// The user knows of the link, and so which connections to track.
    pub(crate) announced: bool,
    /// Messages were left in the ring when their share of a turn was used up.
    pub(crate) has_more: bool,
    pub(crate) liveness: Liveness,
    pub(super) bells: Bells,
    pub(crate) counters: LinkCounters,
}

/// The two ends of a new link.
pub(crate) struct Ends {
    pub(crate) pair: Pair,
    pub(crate) uuid: Uuid,
    pub(crate) domid: DomId,
    pub(crate) side: Side,
    pub(crate) nonce_a: Nonce,
    pub(crate) nonce_b: Nonce,
}

impl<P: Platform> Link<P> {
    /// Makes a link that waits for its proof. Writes the header of the outgoing
    /// message ring.
    pub(crate) fn new(ends: Ends, memory: Pages<P>, port: P::Port, until: Instant) -> Self {
        let producer = Producer::new(&memory, ends.side.outgoing(), 0);
        let consumer = Consumer::new(ends.side.incoming(), 0);
        Self {
            pair: ends.pair,
            uuid: ends.uuid,
            domid: ends.domid,
            side: ends.side,
            state: State::Proving { until },
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
            mapped: 0,
            asked: heapless::Vec::new(),
            unmappable: heapless::Vec::new(),
            peer_has_no_room: false,
            is_rehomed: false,
            peer_migrates: false,
            trim_at: None,
            fault: None,
            announced: false,
            has_more: false,
            liveness: Liveness::new(until),
            bells: Bells::default(),
            counters: LinkCounters::default(),
        }
    }

    pub(crate) const fn statistics(&self) -> LinkStatistics {
        LinkStatistics {
            address: self.pair.remote,
            uuid: self.uuid,
            domid: self.domid,
            counters: self.counters,
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(crate) const fn is_proving(&self) -> bool {
        matches!(self.state, State::Proving { .. })
    }

    /// Sends a message. A peer that lies about the ring, or does not read, is
    /// found at the next turn.
    pub(crate) fn post(&mut self, message: &Message<'_>) {
        self.bells.messages = true;
        self.counters.messages_sent += 1;
        if let Err(fault) = self.outbox.post(&self.memory, message) {
            self.fault = Some(fault.into());
        }
    }

    /// Sends a message that may be lost, if it leaves enough room for others.
    pub(crate) fn post_if_room(&mut self, message: &Message<'_>) {
        match self.outbox.has_room_beside(&self.memory, SHORT) {
            Ok(true) => self.post(message),
            Ok(false) => {}
            Err(fault) => self.fault = Some(fault.into()),
        }
    }

    /// Whether messages wait for room, and the peer was not asked yet to tell
    /// when there is some.
    pub(crate) const fn must_catch_up(&self) -> bool {
        self.outbox.is_behind() && self.liveness.stuck_at.is_none()
    }

    /// Whether one of the two is about to migrate: rings are small then, and idle
    /// ones are given back. `noticed`: this guest is.
    pub(crate) const fn in_migration(&self, noticed: bool) -> bool {
        noticed || self.peer_migrates
    }

    /// Returns the largest ring that may be taken now.
    pub(crate) fn largest_size(&self, noticed: bool) -> RingSize {
        if self.in_migration(noticed) {
            RingSize::within(LARGEST_RING_IN_MIGRATION)
        } else {
            RingSize::LARGEST
        }
    }

    /// Whether the rings that this guest writes belong into pages of the peer.
    /// If both migrate, each keeps what it writes.
    pub(crate) const fn wants_peer_pages(&self, noticed: bool) -> bool {
        noticed && self.is_open() && !self.peer_migrates
    }

    /// Writes this side's state and notifies the peer.
    pub(crate) fn set_state(&mut self, state: SideState, platform: &P) {
        control::set_state(&self.memory, self.side, state);
        self.notify(platform);
    }

    /// Says that this side is suspended. A peer that was told before, and uses
    /// the link, looks by itself: an event would make it run, on this guest's
    /// processor, in the middle of the suspend.
    pub(crate) fn set_frozen(&mut self, was_told: bool, platform: &P) {
        if was_told && self.used > 0 {
            control::set_state(&self.memory, self.side, SideState::Frozen);
        } else {
            self.set_state(SideState::Frozen, platform);
        }
    }

    pub(crate) fn peer_state(&self) -> SideState {
        control::peer_state(&self.memory, self.side)
    }
}
