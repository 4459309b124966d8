//! Shared memory on a host system: a file that processes map.

use core::ops::Deref;
use core::ptr::NonNull;
use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

use super::memory::SharedMemory;

/// A mapped file as shared memory: all values of the same file, in this process
/// or in others, see each other's writes.
///
/// Shrinking the file ends every process that touches the missing part
/// (SIGBUS), so the file should be one that cannot be shrunk.
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
    /// Errors of the host system.
    pub fn map(file: &File, len: usize) -> io::Result<Self> {
        let mapping = MmapOptions::new().len(len).map_raw(file)?;
        let base = NonNull::new(mapping.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // Another mapping of the file is just one more side that writes
        // meanwhile. SAFETY: the range is mapped, readable and writable, until
        // the mapping is dropped, which lives as long as `memory`; nothing else
        // in this process knows its address.
        let memory = unsafe { SharedMemory::new(base, mapping.len()) };
        Ok(Self {
            memory,
            _mapping: mapping,
        })
    }
}

// SAFETY: the mapping belongs to no thread, and `SharedMemory` expects others
// to write at any moment.
unsafe impl Send for SharedFile {}

impl Deref for SharedFile {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}
