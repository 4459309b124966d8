//! Grants: the right of one domain to map or copy a page of another
//! (`xen/include/public/grant_table.h`, version 1).
//!
//! [`GrantedPage`] is a page of ours that a peer may use, [`GrantedRegion`]
//! several adjacent ones, [`Mapping`] pages of a peer that we use. `table`
//! holds the entries of our pages.

mod error;
mod mapping;
mod page;
mod region;
mod table;

pub use error::{Access, GrantError};
pub use mapping::Mapping;
pub(crate) use mapping::gather as gather_mappings;
pub use page::GrantedPage;
pub use region::GrantedRegion;
pub(crate) use table::GrantTable;
pub use table::{in_use, quarantined_pages};
