//! Two hosts on one network: what the second one does for the first.
//!
//! Scenarios run on the first host and use [`RemoteHost`]. On the second one [`serve`] answers the
//! requests that [`protocol`] defines, one for each connection, and [`ask`] is the other end of
//! that. A migration takes a [`receiver`] on the one host, [`sender`] on the other, and
//! `agent connect` ([`transport`]) as the way from `xl migrate` to the receiver.

mod ask;
mod protocol;
mod receiver;
mod remote;
mod sender;
pub(crate) mod serve;
pub(crate) mod transport;

use std::net::Ipv4Addr;

pub(crate) use protocol::{Fault, FaultKind};
pub(crate) use remote::{Moved, RemoteHost};
pub(crate) use transport::SILENCE;

use crate::lab::DOM0;

/// The second dom0's address. dom0's init sets it.
pub(crate) const SECOND: Ipv4Addr = {
    let [a, b, c, _] = DOM0.octets();
    Ipv4Addr::new(a, b, c, 254)
};

/// Where the second host's agent takes requests.
const CONTROL_PORT: u16 = 8001;

/// The network card that leads to the other host.
const CARD: &str = "eth0";
