//! Grants: the right of one domain to map or copy a page of another
//! (`xen/include/public/grant_table.h`, version 1).
//!
//! [`GrantedPage`] is a page of ours that a peer may use, [`GrantedRegion`]
//! adjacent ones, [`Mapping`] pages of a peer that we use.

mod mapping;
mod region;
mod table;

pub use mapping::Mapping;
pub(crate) use mapping::gather as gather_mappings;
pub use region::GrantedRegion;
pub(crate) use table::GrantTable;
pub use table::{in_use, quarantined_pages};

use crate::DomId;
use crate::lifecycle::{self, Generation};
use crate::mem::frames::OutOfMemory;
use crate::pv::hypercall::Refused;
use crate::shared::{SharedMemory, SharedPage};
use core::fmt;
use core::ops::Deref;
use table::TABLE;

/// What the other domain may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Why a grant could not be made or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantError {
    /// The grant table is as large as Xen lets it become.
    TableFull,
    /// The foreign window has no room for that many pages.
    WindowFull,
    /// The page lies beyond what a version 1 entry can name (16 TiB).
    FrameTooHigh,
    /// There are no adjacent free pages, or no memory for them now.
    OutOfMemory,
    /// The region is being taken back: some of its grants have ended.
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

/// A page of ours that one other domain may use.
///
/// Dropping it ends the grant. Where the peer still maps the page it is
/// quarantined: kept out of use until the guest becomes another domain, and
/// counted. A grant that ended with its domain is stale.
#[derive(Debug)]
pub struct GrantedPage {
    /// `None` only while the value is being taken apart.
    page: Option<SharedPage>,
    reference: u32,
    generation: Generation,
}

impl GrantedPage {
    /// Grants `page` to `domid`.
    ///
    /// # Errors
    /// [`GrantError::TableFull`], [`GrantError::FrameTooHigh`].
    pub fn new(domid: DomId, page: SharedPage, access: Access) -> Result<Self, GrantError> {
        let reference = TABLE.borrow().grant(domid, page.pfn(), access)?;
        Ok(Self {
            page: Some(page),
            reference,
            generation: lifecycle::generation(),
        })
    }

    /// The grant reference, which the peer needs.
    ///
    /// # Errors
    /// [`GrantError::Stale`].
    pub fn reference(&self) -> Result<u32, GrantError> {
        if self.is_stale() {
            return Err(GrantError::Stale);
        }
        Ok(self.reference)
    }

    /// Whether the grant ended with the domain that made it. The page is the
    /// guest's alone then.
    fn is_stale(&self) -> bool {
        self.generation != lifecycle::generation()
    }

    /// Ends the grant; false where the peer still maps the page.
    fn end(&self) -> bool {
        self.is_stale() || TABLE.borrow().end(self.reference)
    }

    /// Ends the grant and returns the page.
    ///
    /// # Errors
    /// Itself, where the peer still maps the page.
    pub fn into_page(mut self) -> Result<SharedPage, Self> {
        if !self.end() {
            return Err(self);
        }
        match self.page.take() {
            Some(page) => Ok(page),
            None => unreachable!("the page is taken only here and in drop"),
        }
    }
}

impl Deref for GrantedPage {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        match &self.page {
            Some(page) => page,
            None => unreachable!("the page is taken only by value"),
        }
    }
}

impl Drop for GrantedPage {
    fn drop(&mut self) {
        let Some(page) = self.page.take() else { return };
        if !self.end() {
            TABLE.borrow().quarantine.pages.push(page);
        }
    }
}
