//! What tells a live peer from a dead, stuck or noisy one.

use crate::limits::{EMPTY_EVENTS, FLOOD_WINDOW};
use crate::platform::Instant;

/// What tells a live peer from a dead, stuck or noisy one.
pub(crate) struct Liveness {
    /// When to check that the peer lives.
    pub(crate) check_at: Instant,
    /// When a peer that takes no messages counts as stuck.
    pub(crate) stuck_at: Option<Instant>,
    /// Since when events are counted.
    since: Instant,
    empty: u32,
    pub(super) useful: u32,
}

impl Liveness {
    pub(crate) fn new(check_at: Instant) -> Self {
        Self {
            check_at,
            stuck_at: None,
            since: Instant::default(),
            empty: 0,
            useful: 0,
        }
    }

    /// Counts an event without effect; returns whether there are too many.
    pub(super) fn count_empty(&mut self, now: Instant) -> bool {
        if now >= self.since.after(FLOOD_WINDOW) {
            (self.since, self.empty, self.useful) = (now, 0, 0);
        }
        self.empty = self.empty.saturating_add(1);
        self.empty > EMPTY_EVENTS && self.empty / 4 > self.useful
    }
}
