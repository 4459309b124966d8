//! Memory that another domain can change at any moment.
//!
//! Nobody ever holds a reference into it: values are fetched once, bytes are
//! copied in and out. What was fetched is an allegation until it is checked.
//!
//! `memory` is the access to any range, `page` a page of our own to share; on a
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
