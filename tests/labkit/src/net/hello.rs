//! HELLO of the channel's protocol, as a datagram or as a frame from anybody.

use std::net::Ipv4Addr;

use vmc::Uuid;
use vmc::wire::PORT;
use vmc::wire::datagram::{Datagram, Kind};

use super::frame::{IPV4, Link, UDP, ethernet, ipv4, udp};

/// The claims of a HELLO about its sender.
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    /// The sender's domain.
    pub domid: u16,
    /// The sender's UUID.
    pub uuid: [u8; 16],
    /// What its receiver must show to the domain.
    pub nonce: [u8; 16],
    /// What a CHALLENGE has carried, or zeros.
    pub cookie: [u8; 16],
}

impl Hello {
    /// Encodes the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let datagram = Datagram {
            domid: self.domid,
            uuid: Uuid(self.uuid),
            nonce_a: self.nonce,
            kind: Kind::Hello {
                cookie: self.cookie,
            },
        };
        datagram.encode()
    }

    /// Builds a frame with it, from the channel's port of `from` to that of `to`.
    #[must_use]
    pub fn frame(&self, link: Link, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let datagram = udp((from, PORT), (to, PORT), &self.encode());
        ethernet(link, IPV4, &ipv4(from, to, UDP, 0, &datagram))
    }
}

/// Whether a datagram is a CHALLENGE.
#[must_use]
pub fn is_challenge(datagram: &[u8]) -> bool {
    let kind = Datagram::decode(datagram).map(|datagram| datagram.kind);
    matches!(kind, Some(Kind::Challenge { .. }))
}
