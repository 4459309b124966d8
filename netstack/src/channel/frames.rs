//! Which frames may take a link (docs/protocol.md, "Messages on the link": FRAME).
//!
//! UDP may, and TCP's segments without payload, as long as every earlier segment of the connection
//! that went out from here took the link. So no segment overtakes an earlier one: smoltcp 0.14 throws
//! away what carries an older acknowledgement than it has seen (`Socket::process`, "duplicate ACK"),
//! data and FIN included. A connection whose bytes all go by rings is opened and closed without
//! netfront; one segment on netfront, for whatever reason, and all later ones take it too.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, TcpPacket, UdpPacket};
use vmc::FourTuple;

use crate::packet::Packet;

/// Connections that have sent nothing by netfront, as this side names them, and how many segments
/// they have sent by a link. Only those in the channel's care, of which there is a bound.
pub(super) type OffNetfront = BTreeMap<FourTuple, u32>;

/// What a frame is, as far as its way goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Netfront's only.
    Other,
    /// UDP, to this address.
    Datagram(IpAddr),
    /// TCP, of this connection, without payload.
    Bare(FourTuple),
    /// TCP, of this connection, with payload.
    Data(FourTuple),
}

/// What a frame is that goes out.
pub(super) fn kind(frame: &[u8]) -> Kind {
    let known = || {
        let packet = Packet::find(frame)?;
        let payload = frame.get(packet.payload)?;
        match packet.protocol {
            IpProtocol::Udp => {
                let datagram = UdpPacket::new_checked(payload).ok()?;
                // What proves where a peer lives must go where the address is.
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
