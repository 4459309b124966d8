//! Adjacent pages of ours that a peer may use.

use super::error::{Access, GrantError};
use super::table::TABLE;
use crate::domain::{self, DomId, Generation};
use crate::mem::run::Run;
use crate::page::{PAGE_SIZE, Pfn};
use crate::shared::SharedMemory;
use alloc::vec::Vec;
use core::ops::{Deref, Range};

/// Adjacent pages of ours that one other domain may read and write, granted
/// page by page.
///
/// Dropping it ends the grants. If the peer still maps a page, the whole region
/// is quarantined: kept out of use until the guest becomes another domain, and
/// counted. A region whose grants ended with their domain belongs to the guest
/// alone.
#[derive(Debug)]
pub struct GrantedRegion {
    memory: SharedMemory,
    /// `None` only while the value is being taken apart.
    run: Option<Run>,
    /// References of the grants that have not ended.
    references: Vec<u32>,
    generation: Generation,
}

impl GrantedRegion {
    /// Grants `pages` pages of zeros to domain `domid`.
    ///
    /// # Errors
    /// [`GrantError::OutOfMemory`], [`GrantError::TableFull`],
    /// [`GrantError::FrameTooHigh`].
    pub fn new(domid: DomId, pages: usize) -> Result<Self, GrantError> {
        let run = Run::take_zeroed(pages)?;
        // SAFETY: the run is mapped and belongs to this value alone while the
        // value holds it.
        let memory = unsafe { SharedMemory::new(run.address(), pages * PAGE_SIZE) };
        let frames = run.frames();
        // Complete from the beginning: a peer that guesses references may map a
        // page before the last one is granted, and then the region has to be
        // quarantined.
        let mut region = Self {
            memory,
            run: Some(run),
            references: Vec::with_capacity(pages),
            generation: domain::generation(),
        };
        for pfn in frames {
            let reference = TABLE.borrow().grant(domid, pfn, Access::ReadWrite)?;
            region.references.push(reference);
        }
        Ok(region)
    }

    /// Returns the grant references, which the peer needs, in the order of the
    /// pages.
    ///
    /// # Errors
    /// [`GrantError::Stale`]; [`GrantError::Ending`] after a
    /// [`revoke`](Self::revoke) that could not end all grants.
    pub fn references(&self) -> Result<&[u32], GrantError> {
        if self.is_stale() {
            return Err(GrantError::Stale);
        }
        if self.references.len() * PAGE_SIZE != self.memory.len() {
            return Err(GrantError::Ending);
        }
        Ok(&self.references)
    }

    /// Returns whether the grants ended with the domain that made them. If so,
    /// the pages belong to the guest alone.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.generation != domain::generation()
    }

    /// Returns the numbers of the frames, by which a migration names its pages.
    #[must_use]
    pub fn frames(&self) -> Range<Pfn> {
        self.run.as_ref().map_or(0..0, Run::frames)
    }

    /// Ends all grants that the peer does not use; returns true if none is
    /// left. The table may reuse the entry of a grant that has ended, so its
    /// reference is dropped.
    fn end(&mut self) -> bool {
        if self.is_stale() {
            return true;
        }
        let mut table = TABLE.borrow();
        self.references.retain(|&reference| !table.end(reference));
        self.references.is_empty()
    }

    /// Ends the grants and gives the pages back.
    ///
    /// # Errors
    /// The value itself, if the peer still maps a page. The peer cannot map the
    /// other pages again; the remaining grants can be revoked later.
    pub fn revoke(mut self) -> Result<(), Self> {
        if !self.end() {
            return Err(self);
        }
        drop(self.run.take());
        Ok(())
    }
}

impl Deref for GrantedRegion {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}

impl Drop for GrantedRegion {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        if !self.end() {
            TABLE.borrow().quarantine.regions.push(run);
        }
    }
}
