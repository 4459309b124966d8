//! Pages, and the numbers of the frames they lie in.

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// A pseudo-physical frame number: the guest's own numbering, which has no gaps.
pub type Pfn = usize;

/// A machine frame number, which Xen and page-table entries use. Only [`pv`](crate::pv)
/// looks behind it; the grant table hands the frames that Xen names for it to `pv`.
pub(crate) type Mfn = u64;
