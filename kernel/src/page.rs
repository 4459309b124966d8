//! The size of a page, and frame numbers.

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// A pseudo-physical frame number, from the guest's own numbering without gaps.
pub type Pfn = usize;

/// A machine frame number, as Xen and page-table entries use it. Only [`pv`](crate::pv) works with
/// them; the grant table passes those of its own frames from Xen to `pv`.
pub(crate) type Mfn = u64;
