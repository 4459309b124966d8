//! The size of a page, and frame numbers.

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// A pseudo-physical frame number, from the guest's own numbering without gaps.
pub type Pfn = usize;

/// A machine frame number, as Xen and page-table entries use it. In a PVH guest it is the same as
/// [`Pfn`]. Only [`platform`](crate::platform) works with them.
pub(crate) type Mfn = u64;
