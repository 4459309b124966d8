//! Memory that another domain can change at any moment.
//!
//! There are no references into such memory: values are fetched once, bytes are
//! copied in and out. A fetched value is an allegation until it is checked.
//!
//! `memory` is access to any range, `page` a page of our own to share; on a
//! host system `host` maps a file.

#[cfg(feature = "host")]
mod host;
mod memory;
mod page;

#[cfg(test)]
mod tests;

#[cfg(feature = "host")]
pub use host::SharedFile;
pub use memory::SharedMemory;
pub use page::SharedPage;
