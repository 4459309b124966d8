//! What the guest's command line decides.

use crate::platform::Uuid;
use crate::wire::ring::{PAGE, RING_NUMBERS, RingSize};

/// Which protocol a guest follows at the early notice (design rule R16).
///
/// Nothing in the channel depends on it: its user calls [`Vmc::leave`] or
/// [`Vmc::early_notice`].
///
/// [`Vmc::leave`]: crate::Vmc::leave
/// [`Vmc::early_notice`]: crate::Vmc::early_notice
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Shared memory ends when a migration begins, as in the original XENVMC.
    Original,
    /// Shared memory lasts through pre-copy, up to the suspend: Advance-XENVMC.
    Advance,
}

/// Identity and limits of this guest.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Identity of this guest.
    pub uuid: Uuid,
    /// Most links at a time.
    pub max_peers: usize,
    /// Most rings per link and direction, up to 512.
    pub max_rings: usize,
    /// Bytes of data in the largest ring.
    pub largest_ring: usize,
    /// Most bytes granted to all peers together, half of them to one peer. As
    /// many bytes of peers' memory are mapped at most.
    pub memory: usize,
    /// How long, in nanoseconds, what is kept for a suspended peer waits for it.
    pub peer_timeout: u64,
}

impl Config {
    pub(crate) const fn memory_pages(&self) -> usize {
        self.memory / PAGE
    }

    pub(crate) fn max_rings(&self) -> usize {
        self.max_rings.min(RING_NUMBERS)
    }

    pub(crate) fn largest_size(&self) -> RingSize {
        RingSize::within(self.largest_ring)
    }
}

/// Why this guest leaves its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// It shuts down.
    Shutdown,
    /// It is about to migrate.
    Migrating,
}
