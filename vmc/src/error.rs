//! Whose fault it is: the peer's, nobody's, or ours.
//!
//! Three types that do not convert into each other: a [`PeerFault`] ends a link,
//! `NoRoom` (in `link::budget`) leaves a direction where it is, and a [`Bug`] is
//! ours: it panics in builds with debug assertions and is counted in others.

use crate::ring::IndexLie;

/// What a peer did that an honest one does not do. It ends the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerFault {
    /// It moved an index of a ring to where it cannot be.
    Index,
    /// It sent a message without a meaning, or one that contradicts the others.
    Message,
    /// It sends events without end.
    Flood,
    /// It does not take its messages.
    Stuck,
}

impl From<IndexLie> for PeerFault {
    fn from(_: IndexLie) -> Self {
        Self::Index
    }
}

/// A broken invariant of this crate, by the sentence that should have held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bug(pub(crate) &'static str);

/// Why a read, a write or a message failed without being the application's
/// business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Peer(PeerFault),
    Bug(Bug),
}

impl From<PeerFault> for Failure {
    fn from(fault: PeerFault) -> Self {
        Self::Peer(fault)
    }
}

impl From<IndexLie> for Failure {
    fn from(lie: IndexLie) -> Self {
        Self::Peer(lie.into())
    }
}

impl From<Bug> for Failure {
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}
