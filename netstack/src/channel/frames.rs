//! Which frames may take a link (docs/protocol.md, "Messages on the link": FRAME).
//!
//! UDP may, and so may TCP segments without payload, as long as every earlier segment that the
//! connection sent from here took the link. So no segment overtakes an earlier one: smoltcp 0.14
//! throws away a segment with an older acknowledgement than it has seen (`Socket::process`,
//! "duplicate ACK"), data and FIN included. A connection whose bytes all go by rings is opened and
//! closed without netfront; once a segment takes netfront, for whatever reason, all later ones do.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, TcpPacket, UdpPacket};
use vmc::FourTuple;

use crate::packet::Packet;

/// Connections that have sent nothing by netfront, each with the number of segments that it has
/// sent by a link. Only connections in the channel's care are here, whose number is bounded.
pub(super) type OffNetfront = BTreeMap<FourTuple, u32>;

/// What decides which way a frame goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything that only netfront may carry.
    Other,
    /// UDP to this address.
    Datagram(IpAddr),
    /// A segment of this connection without payload.
    Bare(FourTuple),
    /// A segment of this connection with payload.
    Data(FourTuple),
}

/// Classifies a frame that is to be sent.
pub(super) fn kind(frame: &[u8]) -> Kind {
    let known = || {
        let packet = Packet::find(frame)?;
        let payload = frame.get(packet.payload)?;
        match packet.protocol {
            IpProtocol::Udp => {
                let datagram = UdpPacket::new_checked(payload).ok()?;
                // What proves which host a peer is on must go to its address.
                let may = datagram.dst_port() != vmc::wire::PORT;
                may.then_some(Kind::Datagram(packet.destination))
            }
            IpProtocol::Tcp => {
                let segment = TcpPacket::new_checked(payload).ok()?;
                let tuple = FourTuple {
                    local: SocketAddr::new(packet.source, segment.src_port()),
                    remote: SocketAddr::new(packet.destination, segment.dst_port()),
                };
                Some(if segment.payload().is_empty() {
                    Kind::Bare(tuple)
                } else {
                    Kind::Data(tuple)
                })
            }
            _ => None,
        }
    };
    known().unwrap_or(Kind::Other)
}
