//! The ring's memory on the host: a file in memory, mapped separately by two
//! processes or two threads.

use std::fs::File;

use anyhow::{Context, Result};
use kernel::shared::SharedFile;
use rustix::fs::{MemfdFlags, SealFlags};
use vmc::ring::Geometry;

pub(crate) const PAGE: usize = 4096;

/// A ring of `capacity` bytes has the layout of a connection's: a page for the
/// header, then the data.
pub(crate) const fn geometry(capacity: usize) -> Geometry {
    Geometry {
        header: 0,
        data: PAGE,
        capacity,
    }
}

/// Makes a file for a ring of `capacity` bytes, sealed against shrinking.
pub(crate) fn file(capacity: usize) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("ring", flags).context("memfd_create")?);
    file.set_len((PAGE + capacity) as u64)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(file)
}

/// Maps such a file for one side.
pub(crate) fn map(file: &File, capacity: usize) -> Result<SharedFile> {
    SharedFile::map(file, PAGE + capacity).context("mapping the ring")
}
