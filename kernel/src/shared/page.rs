//! A page of this guest's own memory, for sharing.

use super::memory::SharedMemory;
use crate::mem::frames::{self, Frame, OutOfMemory};
use crate::page::{PAGE_SIZE, Pfn};
use core::ops::Deref;

/// A page of this guest's own memory that is going to be shared.
#[derive(Debug)]
pub struct SharedPage {
    memory: SharedMemory,
    frame: Frame,
}

impl SharedPage {
    /// Takes a page and fills it with zeros, so that nothing leaks to the peer.
    ///
    /// # Errors
    /// [`OutOfMemory`] if no frame is free.
    pub fn new() -> Result<Self, OutOfMemory> {
        let frame = frames::take_zeroed()?;
        // SAFETY: the frame is mapped and belongs to this value alone.
        let memory = unsafe { SharedMemory::new(frame.address(), PAGE_SIZE) };
        Ok(Self { memory, frame })
    }

    /// Returns the page's frame number.
    #[must_use]
    pub fn pfn(&self) -> Pfn {
        self.frame.pfn()
    }
}

impl Deref for SharedPage {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}
