//! Why a link ended.

use core::fmt;

use crate::error::PeerFault;

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// This guest left.
    Left,
    /// The peer left: it shuts down.
    PeerLeft,
    /// The peer left: it is about to migrate.
    PeerMigrating,
    /// The peer is dead, or closed the link without a word.
    Gone,
    /// A new link with the same domain, or with another that has its last address,
    /// took its place.
    Replaced,
    /// This guest has become another domain.
    Renewed,
    /// This guest is being suspended.
    Suspended,
    /// The peer was suspended.
    PeerSuspended,
    /// The peer moved an index of a ring to where it cannot be.
    IndexLie,
    /// The peer sent a message without a meaning.
    BadMessage,
    /// The peer sends events without end.
    Flood,
    /// The peer does not take its messages.
    Stuck,
    /// The peer named an address that is not its own. Counted only: it ends no
    /// link.
    WrongAddress,
}

impl Cause {
    /// All causes, in the order in which they are reported.
    pub const ALL: [Self; 13] = [
        Self::Left,
        Self::PeerLeft,
        Self::PeerMigrating,
        Self::Gone,
        Self::Replaced,
        Self::Renewed,
        Self::Suspended,
        Self::PeerSuspended,
        Self::IndexLie,
        Self::BadMessage,
        Self::Flood,
        Self::Stuck,
        Self::WrongAddress,
    ];

    /// Whether the peer lied or misbehaved.
    #[must_use]
    pub const fn is_peer_fault(self) -> bool {
        match self {
            Self::IndexLie | Self::BadMessage | Self::Flood | Self::Stuck | Self::WrongAddress => {
                true
            }
            Self::Left
            | Self::PeerLeft
            | Self::PeerMigrating
            | Self::Gone
            | Self::Replaced
            | Self::Renewed
            | Self::Suspended
            | Self::PeerSuspended => false,
        }
    }
}

impl From<PeerFault> for Cause {
    fn from(fault: PeerFault) -> Self {
        match fault {
            PeerFault::Index => Self::IndexLie,
            PeerFault::Message => Self::BadMessage,
            PeerFault::Flood => Self::Flood,
            PeerFault::Stuck => Self::Stuck,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::PeerLeft => "the peer shuts down",
            Self::PeerMigrating => "the peer migrates",
            Self::Gone => "the peer is gone",
            Self::Replaced => "a new link took its place",
            Self::Renewed => "this guest is another domain now",
            Self::Suspended => "this guest is suspended",
            Self::PeerSuspended => "the peer is suspended",
            Self::IndexLie => "the peer lied about an index",
            Self::BadMessage => "the peer sent a message without a meaning",
            Self::Flood => "the peer sends events without end",
            Self::Stuck => "the peer does not take its messages",
            Self::WrongAddress => "the peer named an address that is not its own",
        })
    }
}

/// A counter for each [`Cause`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CauseCounters([u64; Cause::ALL.len()]);

impl CauseCounters {
    /// Returns how often `cause` was counted.
    #[must_use]
    pub fn get(&self, cause: Cause) -> u64 {
        let of = Cause::ALL.iter().zip(self.0);
        of.filter(|(other, _)| **other == cause)
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn count(&mut self, cause: Cause) {
        for (other, counter) in Cause::ALL.iter().zip(&mut self.0) {
            *counter += u64::from(*other == cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, CauseCounters};

    #[test]
    fn each_cause_has_a_counter_of_its_own() {
        let mut counters = CauseCounters::default();
        for cause in Cause::ALL {
            counters.count(cause);
            assert_eq!(counters.get(cause), 1, "{cause:?}");
        }
    }
}
