//! Counts of the xenstore connection.

/// Counts since the guest started. On a healthy system all of them stay 0,
/// except for late replies to abandoned requests and events that cross the end
/// of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests that xenstored did not answer in time.
    pub timeouts: u64,
    /// Replies that arrived after their request was abandoned.
    pub late: u64,
    /// Replies to unknown requests, and events of unknown watches: an event may
    /// still arrive after its watch was dropped.
    pub unmatched: u64,
    /// Replies and events that are malformed for their type.
    pub malformed: u64,
}
