//! The toolstack's requests to stop or suspend the guest.
//!
//! `requests` receives them through xenstore; `stopping` carries them out, and
//! lets an appliance finish its work first; `sysrq` answers the toolstack's
//! other request, which this guest has no use for.

mod requests;
mod stopping;
mod sysrq;

pub use stopping::{Hold, Requested, Stopping};
pub(crate) use sysrq::serve as serve_sysrq;
