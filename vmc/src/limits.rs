//! Bounds and time-outs. `Config` has those that an operator chooses.

const MILLISECOND: u64 = 1_000_000;

// Rings.

/// Bytes of data in a connection's first ring.
pub(crate) const FIRST_RING: usize = 16 * 1024;
/// log2 of the factor by which a ring grows: four times.
pub(crate) const GROWTH_LOG2: u8 = 2;
/// How often a sender waits for space before it takes a larger ring.
pub(crate) const WAITS_BEFORE_GROWTH: u8 = 4;
/// Writes that stay on TCP after a ring was wanted and there was no room.
pub(crate) const WRITES_BEFORE_RETRY: u16 = 64;

// Rings while one side is about to migrate.

/// Bytes of data in the largest ring during a migration: each page that is
/// mapped then has to be unmapped at the suspend.
pub(crate) const LARGEST_RING_IN_MIGRATION: usize = 128 * 1024;
/// After how long without traffic a connection has no ring during a migration.
pub(crate) const TRIM_AFTER: u64 = 100 * MILLISECOND;
/// Rings in pages of a peer that are asked for at a time.
pub(crate) const ASKED: usize = 16;

// Tables.

/// Connections known at a time.
pub(crate) const CONNECTIONS: usize = 4096;
/// Addresses remembered.
pub(crate) const ADDRESSES: usize = 256;
/// Identities whose last domid is remembered.
pub(crate) const IDENTITIES: usize = 64;
/// Links that wait for their proof at a time: so many offered, and as many taken.
pub(crate) const UNPROVED: usize = 8;
/// Links of one domain that have ended, and whose pages it still maps: with more,
/// it gets no other.
pub(crate) const KEPT_LINKS: usize = 4;
/// Pairs of addresses of one link.
pub(crate) const PAIRS: usize = 16;
/// Guests of which peers have yet to be told something.
pub(crate) const NEWS: usize = 64;
/// Outputs beyond which those that may be lost are dropped.
pub(crate) const OUTPUTS: usize = 512;

// Discovery. Times are in nanoseconds.

/// When HELLO is sent again, counted from the first one.
pub(crate) const HELLO_RETRIES: [u64; 3] =
    [100 * MILLISECOND, 300 * MILLISECOND, 900 * MILLISECOND];
/// How long an answer to HELLO is awaited before the address counts as remote.
pub(crate) const HELLO_TIMEOUT: u64 = 1500 * MILLISECOND;
/// How long an address is assumed to be remote.
pub(crate) const REMOTE: u64 = 60_000 * MILLISECOND;
/// The same, when the guest there has no room or had a link before: twice as long
/// each time, up to [`REMOTE`].
pub(crate) const REMOTE_FIRST: u64 = 1000 * MILLISECOND;
/// CHALLENGEs taken for one greeting.
pub(crate) const CHALLENGES_TAKEN: u8 = 4;
/// A cookie counts in the period in which it was made, and in the next one.
pub(crate) const COOKIE_PERIOD: u64 = 10_000 * MILLISECOND;
/// How long a link region waits for its proof.
pub(crate) const PROOF_TIMEOUT: u64 = 1000 * MILLISECOND;

// A link.

/// How long each side waits for the other to leave.
pub(crate) const LEAVE_TIMEOUT: u64 = 500 * MILLISECOND;
/// How long a peer may take no message before it counts as stuck.
pub(crate) const STUCK_TIMEOUT: u64 = 5000 * MILLISECOND;
/// How often to check that the peer lives while a connection uses the link.
pub(crate) const CHECK_USED: u64 = 250 * MILLISECOND;
/// The same while the peer migrates, which does not tell when it stops.
pub(crate) const CHECK_MIGRATING: u64 = 20 * MILLISECOND;
/// The same while no connection uses the link.
pub(crate) const CHECK_IDLE: u64 = 5000 * MILLISECOND;
/// How often to try to take back a region that the peer still maps.
pub(crate) const REVOKE_RETRY: u64 = 20 * MILLISECOND;
/// How long to try before the region counts as quarantined. From then on each
/// wait is twice the last one …
pub(crate) const REVOKE_TIMEOUT: u64 = 1000 * MILLISECOND;
/// … up to this.
pub(crate) const REVOKE_RETRY_MOST: u64 = 10_000 * MILLISECOND;
/// Messages handled before others get their turn.
pub(crate) const MESSAGES: usize = 32;
/// Bytes of messages that may wait for room in their ring.
pub(crate) const BACKLOG: usize = 64 * 1024;
/// Events without effect within [`FLOOD_WINDOW`] that are tolerated.
pub(crate) const EMPTY_EVENTS: u32 = 2000;
/// The window in which events without effect are counted.
pub(crate) const FLOOD_WINDOW: u64 = 1000 * MILLISECOND;

// After a suspend.

/// Suspends that one connection can have left to settle.
pub(crate) const UNSETTLED: usize = 4;
/// When RESUME is first sent again; each wait is twice the last one …
pub(crate) const RESUME_RETRY: u64 = 20 * MILLISECOND;
/// … up to this.
pub(crate) const RESUME_RETRY_MOST: u64 = 1000 * MILLISECOND;
/// How long a guest that was suspended asks if none of its connections waits for
/// the answer.
pub(crate) const RESUME_TIMEOUT_IDLE: u64 = 5000 * MILLISECOND;
/// How long TCP stands still for an answer once the network is there.
pub(crate) const DOUBT: u64 = 1000 * MILLISECOND;
/// Suspends of one domain that may be left to settle, with all its addresses.
pub(crate) const UNSETTLED_OF_DOMAIN: usize = 2 * PAIRS;

// A connection.

/// When residue that found no room in TCP is first tried again; each wait is
/// twice the last one …
pub(crate) const RESEND_RETRY: u64 = 2 * MILLISECOND;
/// … up to this.
pub(crate) const RESEND_RETRY_MOST: u64 = 100 * MILLISECOND;
/// Attempts of one read or write: a peer could otherwise keep it going.
pub(crate) const ATTEMPTS: usize = 3;
/// Bytes thrown away for a connection without a reader before others get their
/// turn.
pub(crate) const DISCARD: usize = 64 * 1024;
/// Bytes thrown away at a time.
pub(crate) const DISCARD_BUFFER: usize = 2048;

/// How often something may happen: `burst` times at once, then once in an
/// `interval` of nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) burst: u64,
    pub(crate) interval: u64,
}

/// CHALLENGEs in all. Each costs a hash, and is no longer than its HELLO.
pub(crate) const CHALLENGES: Rate = Rate {
    burst: 256,
    interval: MILLISECOND / 2,
};
/// CHALLENGEs to one source. The source may be forged, so the rate leaves room for
/// an honest HELLO between forged ones.
pub(crate) const CHALLENGES_TO_ONE: Rate = Rate {
    burst: 32,
    interval: 10 * MILLISECOND,
};
/// Answers in all to HELLOs with a cookie: each may cost a link region.
pub(crate) const ANSWERS: Rate = Rate {
    burst: 128,
    interval: 5 * MILLISECOND,
};
/// Answers to one source whose HELLOs have a cookie.
pub(crate) const ANSWERS_TO_ONE: Rate = Rate {
    burst: 32,
    interval: 100 * MILLISECOND,
};
