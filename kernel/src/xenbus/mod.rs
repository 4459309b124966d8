//! The handshake between a frontend in this guest and its backend
//! (`xen/include/public/io/xenbus.h`): both ends publish their parameters in
//! xenstore and step through a few states.
//!
//! `state` has the states, `frontend` the device.

mod error;
mod frontend;
mod state;

#[cfg(test)]
mod tests;

pub use error::BusError;
pub use frontend::Frontend;
pub use state::State;
