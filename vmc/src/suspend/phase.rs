//! The phases of one migration, as the channel sees them.

use core::fmt;

/// A phase of a migration on one link, in the order in which they happen. The
/// kernel times the suspend itself between [`Phase::Frozen`] and
/// [`Phase::Resumed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// This guest has got the early notice that it is to migrate.
    EarlyNotice,
    /// Everything it writes lies in pages of its peer.
    Rehomed,
    /// It is being suspended, or its peer was.
    Frozen,
    /// It goes on, and names its offsets.
    Resumed,
    /// The peer has named its offset of a connection.
    Confirmed,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EarlyNotice => "notice",
            Self::Rehomed => "rehomed",
            Self::Frozen => "frozen",
            Self::Resumed => "resumed",
            Self::Confirmed => "confirmed",
        })
    }
}
