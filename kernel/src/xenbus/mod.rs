//! The handshake between a frontend in this guest and its backend
//! (`xen/include/public/io/xenbus.h`): both ends publish what they are in
//! xenstore and step through a few states.
//!
//! `state` has the states and what is to be made of the other end's,
//! `frontend` the device.

mod error;
mod frontend;
mod state;

#[cfg(test)]
mod tests;

pub use error::BusError;
pub use frontend::Frontend;
pub use state::State;
