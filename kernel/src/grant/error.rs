//! The access that a grant gives, and the errors of grants.

use crate::hypercall::Refused;
use crate::mem::frames::OutOfMemory;
use core::fmt;

/// What the other domain may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// Why a grant operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantError {
    /// The grant table is full and Xen does not let it grow.
    TableFull,
    /// The foreign window has no room for that many pages.
    WindowFull,
    /// The page would be the guest's own, and Xen moves such a page instead of mapping it a second
    /// time.
    Own,
    /// The page lies beyond what a version 1 entry can address (16 TiB).
    FrameTooHigh,
    /// There are not enough adjacent free pages, or no memory for them now.
    OutOfMemory,
    /// The region is being revoked: some of its grants have ended.
    Ending,
    /// The grant belonged to the domain that this guest was before it was
    /// restored or migrated.
    Stale,
    /// Xen refused the hypercall.
    Refused(Refused),
    /// Xen refused one operation of the batch (`GNTST_*`).
    Status(i16),
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableFull => f.write_str("the grant table is full"),
            Self::WindowFull => f.write_str("the window for pages of other domains is full"),
            Self::Own => f.write_str("a page of the guest's own cannot be mapped"),
            Self::FrameTooHigh => f.write_str("a page above 16 TiB cannot be granted"),
            Self::OutOfMemory => f.write_str("no memory to grant"),
            Self::Ending => f.write_str("some grants of the region have ended"),
            Self::Stale => f.write_str("the grant ended with a migration"),
            Self::Refused(error) => write!(f, "Xen refused a grant operation: {error}"),
            Self::Status(status) => write!(f, "a grant operation failed with status {status}"),
        }
    }
}

impl core::error::Error for GrantError {}

impl From<OutOfMemory> for GrantError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<Refused> for GrantError {
    fn from(error: Refused) -> Self {
        Self::Refused(error)
    }
}
