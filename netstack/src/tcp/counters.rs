//! What the TCP sockets of a stack count.

/// Counts since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// TCP connections accepted.
    pub(crate) accepted: u64,
    /// TCP connections opened.
    pub(crate) connected: u64,
    /// Times that a listener had no room, in its backlog or in memory, for another connection.
    pub(crate) backlog_full: u64,
    /// Closed connections reset because they did not finish within their linger time.
    pub(crate) linger_resets: u64,
}
