//! What a suspend has left to settle.

use crate::limits::RESUME_RETRY;
use crate::platform::{DomId, Instant};
use crate::stream::Pair;
use crate::wire::resume::Epoch;

/// A link that ended in a suspend and is not settled for every connection between
/// two addresses.
pub(crate) struct Unsettled {
    pub(super) pair: Pair,
    /// The peer's domid when the link ended.
    pub(super) domid: DomId,
    pub(super) epoch: Epoch,
    /// This guest was suspended, not the peer.
    pub(super) is_own: bool,
    /// When RESUME is due next, or is given up.
    pub(super) next: Instant,
    pub(super) wait: u64,
    pub(super) until: Instant,
    /// The same if no connection of this guest waits.
    pub(super) idle_until: Instant,
    /// Until when TCP stands still for an answer.
    pub(super) doubt_until: Instant,
    /// The peer has spoken of it since.
    pub(super) heard: bool,
}

impl Unsettled {
    pub(crate) const fn new(
        pair: Pair,
        domid: DomId,
        epoch: Epoch,
        is_own: bool,
        until: Instant,
    ) -> Self {
        Self {
            pair,
            domid,
            epoch,
            is_own,
            // A peer that was suspended is heard of when it goes on.
            next: until,
            wait: RESUME_RETRY,
            until,
            idle_until: until,
            doubt_until: until,
            heard: false,
        }
    }

    /// A peer that was suspended has a link again: it is asked for what is not
    /// settled. That takes no time off it: it may be suspended again before it
    /// answers.
    pub(crate) fn note_link(&mut self, pair: Pair, now: Instant) {
        if self.pair == pair {
            self.next = now;
            self.idle_until = now;
        }
    }

    /// A peer that was suspended is heard of, between other addresses.
    pub(super) fn begin_to_ask(&mut self, now: Instant) {
        if self.next >= self.until {
            self.next = now;
        }
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.next
    }
}
