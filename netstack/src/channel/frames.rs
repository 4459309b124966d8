//! Which frames may take a link (docs/protocol.md, "Messages on the link": FRAME).
//!
//! UDP may, and so may TCP segments without payload, as long as every earlier segment that the
//! connection sent from here took the link, none was sent twice, and none of the peer's came by
//! netfront. So no segment overtakes an earlier one: smoltcp 0.14
//! throws away a segment with an older acknowledgement than it has seen (`Socket::process`,
//! "duplicate ACK"), data and FIN included. A connection whose bytes all go by rings is opened and
//! closed without netfront; once a segment takes netfront, for whatever reason, all later ones do.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;

use smoltcp::wire::{IpProtocol, TcpPacket, TcpSeqNumber, UdpPacket};
use vmc::{FourTuple, Pair};

use crate::packet::Packet;

/// Connections of which netfront has carried nothing, each with what it has sent by a link. Only
/// connections in the channel's care are here, whose number is bounded.
pub(super) type OffNetfront = BTreeMap<FourTuple, Sent>;

/// What a connection has sent by a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) segments: u32,
    /// Sequence number of the SYN.
    syn: Option<TcpSeqNumber>,
    /// Sequence number of the FIN.
    fin: Option<TcpSeqNumber>,
}

impl Sent {
    /// Whether a segment is sent again. A link loses nothing while it stands, but the peer may have
    /// had no use for the first one: the network is the way that is always right.
    pub(super) fn repeats(&self, segment: &Bare) -> bool {
        let is = |sent: Option<TcpSeqNumber>| sent == Some(segment.sequence);
        match segment.control {
            Control::None => false,
            Control::Syn => is(self.syn),
            Control::Fin => is(self.fin),
        }
    }

    /// Takes note of a segment.
    pub(super) const fn note(&mut self, segment: &Bare) {
        self.segments = self.segments.wrapping_add(1);
        match segment.control {
            Control::None => {}
            Control::Syn => self.syn = Some(segment.sequence),
            Control::Fin => self.fin = Some(segment.sequence),
        }
    }
}

/// What a segment says that TCP repeats until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    None,
    Syn,
    Fin,
}

/// A segment without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bare {
    pub(super) tuple: FourTuple,
    pub(super) sequence: TcpSeqNumber,
    pub(super) control: Control,
}

/// What decides which way a frame goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything that only netfront may carry.
    Other,
    /// UDP between these addresses.
    Datagram(Pair),
    Bare(Bare),
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
                may.then_some(Kind::Datagram(Pair {
                    local: packet.source,
                    remote: packet.destination,
                }))
            }
            IpProtocol::Tcp => {
                let segment = TcpPacket::new_checked(payload).ok()?;
                let tuple = FourTuple {
                    local: SocketAddr::new(packet.source, segment.src_port()),
                    remote: SocketAddr::new(packet.destination, segment.dst_port()),
                };
                Some(if segment.payload().is_empty() {
                    let control = match (segment.syn(), segment.fin()) {
                        (true, _) => Control::Syn,
                        (false, true) => Control::Fin,
                        (false, false) => Control::None,
                    };
                    Kind::Bare(Bare {
                        tuple,
                        sequence: segment.seq_number(),
                        control,
                    })
                } else {
                    Kind::Data(tuple)
                })
            }
            _ => None,
        }
    };
    known().unwrap_or(Kind::Other)
}

/// Returns the connection of a segment that has come in.
pub(super) fn arrived(frame: &[u8]) -> Option<FourTuple> {
    match kind(frame) {
        Kind::Bare(Bare { tuple, .. }) | Kind::Data(tuple) => Some(tuple.flipped()),
        Kind::Other | Kind::Datagram(_) => None,
    }
}
