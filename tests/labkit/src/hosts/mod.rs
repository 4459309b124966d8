//! Two hosts on one network: what the second one does for the first.
//!
//! Scenarios run on the first host, in the frame of [`conduct()`], and use [`RemoteHost`]. On the second host [`serve`] answers the
//! requests that [`protocol`] defines, one for each connection; [`ask`] sends them. A migration
//! needs a [`receiver`] on one host, a [`sender`] on the other, and `agent connect` ([`transport`])
//! between `xl migrate` and the receiver.

mod ask;
mod conduct;
mod protocol;
mod receiver;
mod remote;
mod sender;
pub mod serve;
pub mod transport;

pub use conduct::conduct;
pub use protocol::{Fault, FaultKind, Receipt, Sent};
pub use remote::{Moved, RemoteHost};
pub use transport::SILENCE;

/// The port on which the second host's agent takes requests.
const CONTROL_PORT: u16 = 8001;

/// The network card that leads to the other host.
const CARD: &str = "eth0";
