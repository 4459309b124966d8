//! Shared memory of a host system: a file that processes map.

use core::ops::Deref;
use core::ptr::NonNull;
use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

use super::memory::SharedMemory;

/// A file, mapped, as shared memory: what one value writes, the others of the
/// same file read, in this process or in another.
///
/// Who shrinks the file ends every process that touches what is missing
/// (SIGBUS), so it should be one that cannot be shrunk.
#[derive(Debug)]
pub struct SharedFile {
    memory: SharedMemory,
    /// Owns the mapping.
    _mapping: MmapRaw,
}

impl SharedFile {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// Those of the host system.
    pub fn map(file: &File, len: usize) -> io::Result<Self> {
        let mapping = MmapOptions::new().len(len).map_raw(file)?;
        let base = NonNull::new(mapping.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // Another mapping of the file is one more side that writes meanwhile.
        // SAFETY: the range is mapped, readable and writable, until the mapping
        // is dropped, which lives as long as `memory`; nothing else in this
        // process knows its address.
        let memory = unsafe { SharedMemory::new(base, mapping.len()) };
        Ok(Self {
            memory,
            _mapping: mapping,
        })
    }
}

// SAFETY: the mapping belongs to no thread, and `SharedMemory` counts on
// others writing at any moment.
unsafe impl Send for SharedFile {}

impl Deref for SharedFile {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}
