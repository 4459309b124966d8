//! Bugs of this guest's own, as opposed to what a peer or the toolstack does
//! wrong, or to a lack of room.
//!
//! A build with debug assertions panics at once. A release goes on where it
//! can: it counts the bug, and the [trace ring](crate::trace) tells when it
//! happened. Reporting takes no memory and prints nothing, so it may happen
//! anywhere, with pool and heap locked too.

use crate::trace::{self, Event};
use core::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Reports that `what` happened, which must not.
#[cold]
#[track_caller]
pub fn report(what: &'static str) {
    debug_assert!(false, "bug: {what}");
    COUNT.fetch_add(1, Ordering::Relaxed);
    trace::record(Event::Bug(what));
}

/// Returns how many bugs were reported since boot.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}
