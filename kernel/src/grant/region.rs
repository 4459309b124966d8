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
/// Dropping it ends the grants. Where the peer still maps a page, the whole
/// region is quarantined: kept out of use until the guest becomes another
/// domain, and counted. A region whose grants ended with their domain is the
/// guest's alone.
#[derive(Debug)]
pub struct GrantedRegion {
    memory: SharedMemory,
    /// `None` only while the value is being taken apart.
    run: Option<Run>,
    /// Of the grants that have not ended.
    references: Vec<u32>,
    generation: Generation,
}

impl GrantedRegion {
    /// Grants `pages` pages of zeros to `domid`.
    ///
    /// # Errors
    /// [`GrantError::OutOfMemory`], [`GrantError::TableFull`],
    /// [`GrantError::FrameTooHigh`].
    pub fn new(domid: DomId, pages: usize) -> Result<Self, GrantError> {
        let run = Run::take_zeroed(pages)?;
        // SAFETY: the run is mapped and this value's alone, as long as it has it.
        let memory = unsafe { SharedMemory::new(run.address(), pages * PAGE_SIZE) };
        let frames = run.frames();
        // Whole from the beginning: a peer that guesses references may map a
        // page before the last one is granted, and then it is quarantined.
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

    /// The grant references, which the peer needs, in the order of the pages.
    ///
    /// # Errors
    /// [`GrantError::Stale`]; [`GrantError::Ending`] after a
    /// [`revoke`](Self::revoke) that had to leave some.
    pub fn references(&self) -> Result<&[u32], GrantError> {
        if self.is_stale() {
            return Err(GrantError::Stale);
        }
        if self.references.len() * PAGE_SIZE != self.memory.len() {
            return Err(GrantError::Ending);
        }
        Ok(&self.references)
    }

    /// Whether the grants ended with the domain that made them. The pages are
    /// the guest's alone then.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.generation != domain::generation()
    }

    /// Numbers of the frames, which is how a migration names its pages.
    #[must_use]
    pub fn frames(&self) -> Range<Pfn> {
        self.run.as_ref().map_or(0..0, Run::frames)
    }

    /// Ends all grants that the peer does not use; true where none is left. An
    /// entry that has ended is free for other pages, so its reference goes.
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
    /// Itself, where the peer still maps a page. No page that it does not map
    /// can be mapped by it again; what it maps can be tried again later.
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
