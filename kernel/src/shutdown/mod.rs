//! What the toolstack asks of the guest: to stop, or to suspend.
//!
//! `requests` hears it from xenstore; `stopping` carries it out, and lets an
//! appliance finish its work first.

mod requests;
mod stopping;

pub use stopping::{Hold, Requested, Stopping};
