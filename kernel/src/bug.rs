//! Reports bugs in the guest itself, as opposed to faults of a peer or the
//! toolstack, or a lack of room.
//!
//! A build with debug assertions panics at once. A release build carries on: it
//! counts the bug, keeps its text, and notes it in the
//! [trace ring](crate::trace). Reporting neither allocates nor prints, so it is
//! allowed anywhere, even while the frame pool and the heap are locked.

use crate::trace::{self, Event};
use crate::vcpu_cell::VcpuCell;
use core::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);
static LATEST: VcpuCell<Option<&'static str>> = VcpuCell::new(None);

/// Reports that `what` happened, although it must not.
#[cold]
#[track_caller]
pub fn report(what: &'static str) {
    debug_assert!(false, "bug: {what}");
    COUNT.fetch_add(1, Ordering::Relaxed);
    *LATEST.borrow() = Some(what);
    trace::record(Event::Bug);
}

/// Returns the number of bugs reported since boot.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Returns the bug reported last.
#[must_use]
pub fn latest() -> Option<&'static str> {
    *LATEST.borrow()
}
