//! The device against a backend in plain memory.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop with the error and its place"
)]

extern crate std;

mod backend;
mod receiving;
mod reconnecting;
mod sending;
