//! A page of shared memory that is this guest's own.

use super::memory::SharedMemory;
use crate::mem::frames::{self, Frame, OutOfMemory};
use crate::page::{PAGE_SIZE, Pfn};
use core::ops::Deref;

/// A page of this guest that it is going to share.
#[derive(Debug)]
pub struct SharedPage {
    memory: SharedMemory,
    frame: Frame,
}

impl SharedPage {
    /// A page of zeros, so that nothing of the guest leaks to its peer.
    ///
    /// # Errors
    /// [`OutOfMemory`] where no frame is free.
    pub fn new() -> Result<Self, OutOfMemory> {
        let frame = frames::take_zeroed()?;
        // SAFETY: the frame is mapped and this value's alone.
        let memory = unsafe { SharedMemory::new(frame.address(), PAGE_SIZE) };
        Ok(Self { memory, frame })
    }

    /// The page's frame number.
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
