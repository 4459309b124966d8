//! Which connections have residue that waits for room in TCP, and when each is
//! tried again.

use alloc::vec::Vec;

use crate::keys::ConnKey;
use crate::limits::{RESEND_RETRY, RESEND_RETRY_MOST};
use crate::platform::Instant;

/// A connection whose residue waits for room in TCP.
struct Resend {
    conn: ConnKey,
    due: Instant,
    wait: u64,
}

/// The connections whose residue waits for room in TCP.
#[derive(Default)]
pub(crate) struct Resends(Vec<Resend>);

impl Resends {
    /// Tries a connection again soon, and less often while nothing moves.
    pub(super) fn schedule(&mut self, conn: ConnKey, has_moved: bool, now: Instant) {
        let known = self.0.iter().position(|resend| resend.conn == conn);
        let resend = match known {
            Some(index) => &mut self.0[index],
            None => self.0.push_mut(Resend {
                conn,
                due: now,
                wait: RESEND_RETRY,
            }),
        };
        resend.wait = if has_moved {
            RESEND_RETRY
        } else {
            (2 * resend.wait).min(RESEND_RETRY_MOST)
        };
        resend.due = now.after(resend.wait);
    }

    pub(crate) fn remove(&mut self, conn: ConnKey) {
        self.0.retain(|resend| resend.conn != conn);
    }

    /// Forgets connections that do not wait any more; returns those that are due.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        mut waits: impl FnMut(ConnKey) -> bool,
    ) -> Vec<ConnKey> {
        let mut due = Vec::new();
        let mut index = 0;
        while let Some(resend) = self.0.get_mut(index) {
            if !waits(resend.conn) {
                self.0.swap_remove(index);
                continue;
            }
            if now >= resend.due {
                // `service` sets the time of the next try; this one, if it fails to.
                resend.due = now.after(RESEND_RETRY_MOST);
                due.push(resend.conn);
            }
            index += 1;
        }
        due
    }

    /// Returns when the next connection is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|resend| resend.due).min()
    }
}
