//! Debian packages, without root and without a change to the machine's own apt.
//!
//! [`sources`] reads which mirror the machine uses; [`state`] is a private apt state for one
//! suite of that mirror, with which apt downloads and verifies as it always does; [`fetch`] gets
//! packages with it, once.

pub(crate) mod fetch;
mod output;
pub(crate) mod sources;
mod state;
