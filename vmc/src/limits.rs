//! Bounds and time-outs. Those that an operator chooses are in `Config`.

const MILLISECOND: u64 = 1_000_000;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Rings a link has numbers for.
pub(crate) const RING_NUMBERS: usize = 512;
/// log2 of the data pages of the largest ring that a message can describe.
pub(crate) const LARGEST_LOG2: u8 = 8;
/// log2 of the data pages of a connection's first ring: 16 KiB.
pub(crate) const FIRST_LOG2: u8 = 2;
/// A ring grows by this in log2: four times.
pub(crate) const GROWTH_LOG2: u8 = 2;
/// Times that a sender waits for space before it takes a larger ring.
pub(crate) const PATIENCE: u8 = 4;
/// Writes that stay on TCP after there was no ring for one.
pub(crate) const RETRY_WRITES: u16 = 64;

/// log2 of the data pages of the largest ring during a migration, 128 KiB: each
/// page that is mapped then has to be unmapped at the suspend.
pub(crate) const LEAN_LOG2: u8 = 5;
/// A connection without traffic for so long has no ring during a migration.
pub(crate) const LEAN_AFTER: u64 = 100 * MILLISECOND;
/// Rings in pages of a peer's that are asked for at a time.
pub(crate) const ASKED: usize = 16;

/// Connections that are known at a time.
pub(crate) const CONNECTIONS: usize = 4096;
/// Addresses that are remembered.
pub(crate) const ADDRESSES: usize = 256;
/// Identities whose last domid is remembered.
pub(crate) const IDENTITIES: usize = 64;
/// Regions that wait for their proof at a time.
pub(crate) const UNPROVED: usize = 8;
/// Outputs that may be lost are dropped beyond this number.
pub(crate) const OUTPUTS: usize = 512;

/// HELLO is sent anew so long after the first.
pub(crate) const HELLO_AGAIN: [u64; 3] = [100 * MILLISECOND, 300 * MILLISECOND, 900 * MILLISECOND];
/// Nobody answered within this: the address is remote.
pub(crate) const HELLO_TIMEOUT: u64 = 1500 * MILLISECOND;
/// An address is held for remote so long.
pub(crate) const REMOTE: u64 = 60_000 * MILLISECOND;
/// An unproved region lives so long.
pub(crate) const PROOF_TIMEOUT: u64 = 1000 * MILLISECOND;
/// Each side waits so long for the other to leave.
pub(crate) const LEAVE_TIMEOUT: u64 = 500 * MILLISECOND;
/// RESUME is sent anew so soon …
pub(crate) const RESUME_AGAIN: u64 = 20 * MILLISECOND;
/// … and so late at most …
pub(crate) const RESUME_AGAIN_MOST: u64 = 1000 * MILLISECOND;
/// … for so long after this guest has gone on.
pub(crate) const RESUME_TIMEOUT: u64 = 60_000 * MILLISECOND;
/// … and only for so long where no connection of its own waits for the answer.
pub(crate) const RESUME_TIMEOUT_IDLE: u64 = 5000 * MILLISECOND;
/// A peer that was suspended is awaited so long.
pub(crate) const PEER_TIMEOUT: u64 = 600_000 * MILLISECOND;
/// A peer that takes no message for so long is stuck.
pub(crate) const STUCK_TIMEOUT: u64 = 5000 * MILLISECOND;
/// A dead peer is looked for so often while a connection uses the link …
pub(crate) const LOOK_USED: u64 = 250 * MILLISECOND;
/// … so often while the peer migrates, which does not say when it stops …
pub(crate) const LOOK_MIGRATING: u64 = 20 * MILLISECOND;
/// … and so often while none does.
pub(crate) const LOOK_IDLE: u64 = 5000 * MILLISECOND;
/// A region that the peer still maps is tried again so often …
pub(crate) const REVOKE_AGAIN: u64 = 20 * MILLISECOND;
/// … and given up after this.
pub(crate) const REVOKE_TIMEOUT: u64 = 1000 * MILLISECOND;

/// Residue that finds no room in TCP is tried again so soon …
pub(crate) const RESEND_AGAIN: u64 = 2 * MILLISECOND;
/// … and so late at most.
pub(crate) const RESEND_AGAIN_MOST: u64 = 100 * MILLISECOND;

/// Messages handled before others get their turn.
pub(crate) const MESSAGES: usize = 32;
/// Bytes of messages that wait for room in their ring.
pub(crate) const BACKLOG: usize = 64 * 1024;
/// Events without effect within [`FLOOD_WINDOW`] that are borne.
pub(crate) const EMPTY_EVENTS: u32 = 2000;
/// The window in which events without effect are counted.
pub(crate) const FLOOD_WINDOW: u64 = 1000 * MILLISECOND;
/// Bytes thrown away for a connection that nobody reads before others get
/// their turn.
pub(crate) const DISCARD: usize = 64 * 1024;
/// Bytes thrown away at a time.
pub(crate) const DISCARD_BUFFER: usize = 2048;
