//! A page of ours that a peer may use.

use super::error::{Access, GrantError};
use super::table::TABLE;
use crate::domain::{self, DomId, Generation};
use crate::shared::{SharedMemory, SharedPage};
use core::ops::Deref;

/// A page of ours that one other domain may use.
///
/// Dropping it ends the grant. If the peer still maps the page, the page is
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
    /// Grants `page` to domain `domid`.
    ///
    /// # Errors
    /// [`GrantError::TableFull`], [`GrantError::FrameTooHigh`].
    pub fn new(domid: DomId, page: SharedPage, access: Access) -> Result<Self, GrantError> {
        let reference = TABLE.borrow().grant(domid, page.pfn(), access)?;
        Ok(Self {
            page: Some(page),
            reference,
            generation: domain::generation(),
        })
    }

    /// Returns the grant reference, which the peer needs.
    ///
    /// # Errors
    /// [`GrantError::Stale`].
    pub fn reference(&self) -> Result<u32, GrantError> {
        if self.is_stale() {
            return Err(GrantError::Stale);
        }
        Ok(self.reference)
    }

    /// Returns whether the grant ended with the domain that made it. If so, the
    /// page belongs to the guest alone.
    fn is_stale(&self) -> bool {
        self.generation != domain::generation()
    }

    /// Ends the grant; returns false if the peer still maps the page.
    fn end(&self) -> bool {
        self.is_stale() || TABLE.borrow().end(self.reference)
    }

    /// Ends the grant and returns the page.
    ///
    /// # Errors
    /// The value itself, if the peer still maps the page.
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
