//! The toolstack's requests to stop or suspend the guest.
//!
//! `requests` receives them through xenstore; `stopping` carries them out, and
//! lets an appliance finish its work first.

mod requests;
mod stopping;

pub use stopping::{Hold, Requested, Stopping};
