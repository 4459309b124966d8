//! netfront: the network device of a Xen guest (`xen/include/public/io/netif.h`).
//!
//! The backend is not trusted: what it writes into the rings is checked, received data is copied
//! before it is looked at, and a backend that breaks the protocol loses its connection. The guest
//! then asks it for another one.
//!
//! Read in this order: `netif.rs` (the wire format), `pages.rs` (pages granted to the backend),
//! `assemble.rs` and `receive.rs`, `transmit.rs`, `headers.rs`, `checksum.rs` and `segment.rs`
//! (what the backend does not do for us), `connection.rs`, `device.rs` (smoltcp's view), `handshake.rs` and `vif.rs`
//! (the device in xenstore).

mod assemble;
mod checksum;
mod connection;
mod device;
mod handshake;
mod headers;
mod netif;
mod pages;
mod receive;
mod segment;
mod statistics;
#[cfg(test)]
mod tests;
mod transmit;
mod vif;

use core::fmt;

pub use pages::PageError;
pub use statistics::LinkStatistics;

pub(crate) use connection::Connection;
pub(crate) use device::Netfront;
pub(crate) use handshake::Attached;
pub(crate) use pages::Domain;
pub(crate) use vif::XenVif;

/// A breach of the protocol by the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// More receive responses than requests.
    ReceiveOverrun,
    /// A receive response for a request other than the one in its slot.
    ReceiveId,
    /// More transmit responses than requests.
    TransmitOverrun,
    /// A transmit response for a request that was not made or has been answered already.
    TransmitId,
    /// A response to extra info that was not sent.
    TransmitExtra,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReceiveOverrun => "more receive responses than requests",
            Self::ReceiveId => "a receive response with another request's id",
            Self::TransmitOverrun => "more transmit responses than requests",
            Self::TransmitId => "a transmit response with an id that is not under way",
            Self::TransmitExtra => "a response to extra info that was not sent",
        })
    }
}
