//! What the guest's command line decides.

use crate::platform::Uuid;

/// Which protocol is spoken (design rule R16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// TCP only; HELLO is not answered.
    Off,
    /// Shared memory ends when a migration begins, as the original XENVMC has it.
    Original,
    /// Shared memory lasts through pre-copy, up to the suspend: Advance-XENVMC.
    Advance,
}

/// Identity and limits of this guest.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Identity of this guest.
    pub uuid: Uuid,
    /// Which protocol is spoken.
    pub mode: Mode,
    /// Links at a time.
    pub max_peers: usize,
    /// Rings per link and direction, 512 at most.
    pub max_rings: usize,
    /// Bytes of data in the largest ring.
    pub largest_ring: usize,
    /// Bytes granted to all peers together; one peer gets half at most. As
    /// many bytes of peers' memory are mapped at most.
    pub memory: usize,
}

/// Why this guest leaves its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// It shuts down.
    Shutdown,
    /// It is about to migrate.
    Migrating,
}
