//! The client against the fake xenstored, and against a hostile one.

extern crate std;

mod framing;
mod hostile;
mod renewal;
mod requests;
mod transactions;
mod watches;
