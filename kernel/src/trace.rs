//! The trace ring: the last events of the guest's life, always on. A guest's
//! memory migrates with it, so afterwards the ring still tells what happened
//! before.

use crate::domain::DomId;
use crate::phase::Phase;
use crate::time::{self, Instant};
use crate::vcpu_cell::VcpuCell;
use alloc::vec::Vec;
use core::fmt;

/// Number of events that are kept.
const KEPT: usize = 128;

/// An event worth remembering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A phase of a suspend.
    Phase(Phase),
    /// The guest has become the domain of this number.
    Domain(DomId),
    /// A suspend was abandoned in its first phases, because a part did not
    /// settle.
    Abandoned,
    /// A [bug](crate::bug) in the guest itself.
    Bug,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase(phase) => phase.fmt(f),
            Self::Domain(domid) => write!(f, "domain {domid}"),
            Self::Abandoned => f.write_str("suspend abandoned"),
            Self::Bug => f.write_str("a bug was reported"),
        }
    }
}

// The ring fits a page or two: a suspend writes to it, and each page that it
// writes to first costs a trap, whose time is part of the outage.
const _: () = assert!(size_of::<Option<(Instant, Event)>>() == 16);

struct Ring {
    entries: [Option<(Instant, Event)>; KEPT],
    count: u64,
}

static RING: VcpuCell<Ring> = VcpuCell::new(Ring {
    entries: [None; KEPT],
    count: 0,
});

/// Records an event.
pub fn record(event: Event) {
    let mut ring = RING.borrow();
    let slot = (ring.count % KEPT as u64) as usize;
    ring.entries[slot] = Some((time::turn(), event));
    ring.count += 1;
}

/// Returns the number of events so far, and the events that are kept, oldest
/// first.
#[must_use]
pub fn entries() -> (u64, Vec<(Instant, Event)>) {
    // Allocated before the borrow, because an allocation may record an event.
    let mut kept = Vec::with_capacity(KEPT);
    let ring = RING.borrow();
    let (newer, older) = ring.entries.split_at((ring.count % KEPT as u64) as usize);
    kept.extend(older.iter().chain(newer).flatten().copied());
    (ring.count, kept)
}
