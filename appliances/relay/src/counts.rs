//! What became of the mails since boot.

use core::cell::Cell;
use smtp::Outcome;

/// Counts mails, each by the last answer that its client got.
#[derive(Default)]
pub(crate) struct Counts {
    delivered: Cell<u64>,
    refused: Cell<u64>,
    deferred: Cell<u64>,
}

impl Counts {
    /// Counts a mail.
    pub(crate) fn count(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Delivered => &self.delivered,
            Outcome::Refused => &self.refused,
            Outcome::Deferred => &self.deferred,
        };
        count.set(count.get().wrapping_add(1));
    }

    /// Logs the counts as a part of the answer to `status`.
    pub(crate) fn log(&self) {
        log::info!(
            "status: mails delivered {} refused {} deferred {}",
            self.delivered.get(),
            self.refused.get(),
            self.deferred.get()
        );
    }
}
