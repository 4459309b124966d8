//! What the xenstore connection counts.

/// Counts since the guest started. In good health all of them stay 0, but for
/// late replies to dropped requests and events that cross the end of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests that xenstored did not answer in time.
    pub timeouts: u64,
    /// Replies that came after their request had been given up.
    pub late: u64,
    /// Replies to no known request, and events of no known watch: one may
    /// still come after its watch was dropped.
    pub unmatched: u64,
    /// Replies and events that do not have the form of their type.
    pub malformed: u64,
}
