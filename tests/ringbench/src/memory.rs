//! The ring's memory on the host: a file in memory that two processes, or two
//! threads, have mapped each for itself.

use std::fs::File;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use kernel::shared::SharedFile;
use rustix::fs::{MemfdFlags, SealFlags};
use vmc::memory::Memory;
use vmc::ring::Geometry;

const PAGE: usize = 4096;

/// A ring of `capacity` bytes lies as a connection's does: a page for the
/// header, then the data.
pub(crate) const fn geometry(capacity: usize) -> Geometry {
    Geometry {
        header: 0,
        data: PAGE,
        capacity,
    }
}

/// A file for a ring of `capacity` bytes, that nobody can shrink.
pub(crate) fn file(capacity: usize) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("ring", flags).context("memfd_create")?);
    file.set_len((PAGE + capacity) as u64)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(file)
}

/// One side's mapping of such a file.
pub(crate) struct Mapped(SharedFile);

impl Mapped {
    pub(crate) fn new(file: &File, capacity: usize) -> Result<Self> {
        let memory = SharedFile::map(file, PAGE + capacity).context("mapping the ring")?;
        Ok(Self(memory))
    }
}

impl Memory for Mapped {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.0.write(offset, from);
    }

    fn load(&self, offset: usize) -> u64 {
        self.0.load_u64(offset, Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u64) {
        self.0.store_u64(offset, value, Ordering::Release);
    }

    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.0.fetch_or_u64(offset, bits)
    }

    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.0.swap_u64(offset, value)
    }

    fn fence(&self) {
        self.0.fence();
    }
}
