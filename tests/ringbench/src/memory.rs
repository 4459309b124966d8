//! The ring's memory on the host: a file in memory that two processes, or two
//! threads, have mapped each for itself.

use std::fs::File;

use anyhow::{Context, Result};
use kernel::shared::SharedFile;
use rustix::fs::{MemfdFlags, SealFlags};
use vmc::ring::Geometry;

pub(crate) const PAGE: usize = 4096;

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
pub(crate) fn map(file: &File, capacity: usize) -> Result<SharedFile> {
    SharedFile::map(file, PAGE + capacity).context("mapping the ring")
}
