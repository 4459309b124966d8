//! Finds peers that are dead, stuck or noisy.

use super::state::Link;
use crate::error::PeerFault;
use crate::guest::Guest;
use crate::limits::{CHECK_IDLE, CHECK_MIGRATING, CHECK_USED, STUCK_TIMEOUT};
use crate::platform::{Instant, Platform};

impl<P: Platform> Link<P> {
    /// Counts an event, and finds a peer that sends them without end.
    pub(crate) fn count_event(&mut self, is_useful: bool, platform: &P) {
        self.counters.events += 1;
        // Reading the clock costs time: only an event without effect is worth it.
        if is_useful {
            self.liveness.useful = self.liveness.useful.saturating_add(1);
            return;
        }
        self.counters.empty_events += 1;
        if self.liveness.count_empty(platform.now()) {
            self.fault.get_or_insert(PeerFault::Flood.into());
        }
    }

    /// Another ring is in use.
    pub(crate) fn note_use(&mut self, now: Instant) {
        self.used += 1;
        self.liveness.check_at = self.liveness.check_at.min(now.after(CHECK_USED));
    }

    /// Sets the time of the next check that the peer lives.
    pub(crate) const fn schedule_check(&mut self, now: Instant) {
        self.liveness.check_at = now.after(match (self.peer_migrates, self.used) {
            (_, 0) => CHECK_IDLE,
            (true, _) => CHECK_MIGRATING,
            (false, _) => CHECK_USED,
        });
    }

    /// Sends messages that waited for room; returns whether some went out.
    pub(crate) fn catch_up(&mut self, guest: &Guest<P>) -> bool {
        if !self.outbox.is_behind() {
            self.liveness.stuck_at = None;
            return false;
        }
        let now = guest.platform.now();
        match self.outbox.catch_up(&self.memory) {
            Ok(moved) => {
                if moved {
                    self.note_messages();
                    self.liveness.stuck_at = None;
                }
                if self.outbox.is_behind() {
                    let stuck_at = now.after(STUCK_TIMEOUT);
                    self.liveness.stuck_at.get_or_insert(stuck_at);
                } else {
                    self.liveness.stuck_at = None;
                }
                moved
            }
            Err(fault) => {
                self.fault = Some(fault.into());
                false
            }
        }
    }
}
