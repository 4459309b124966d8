//! Debian packages without root and without touching the machine's own apt.
//!
//! [`sources`] reads which mirror the machine uses; [`state`] is a private apt state for one
//! suite of that mirror, with which apt downloads and verifies as it always does.

pub(crate) mod sources;
pub(crate) mod state;
