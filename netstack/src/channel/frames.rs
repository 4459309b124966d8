//! Which frames may take a link, and who sent and gets them.
//!
//! What opens a connection (SYN, SYN-ACK and the acknowledgement that answers it) and UDP. No other
//! segment: it must not overtake what netfront still carries. smoltcp 0.14 throws data away whose
//! acknowledgement number is older than one it has seen (`Socket::process`, "duplicate ACK").

use core::net::IpAddr;

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
    UdpPacket,
};

/// Handshakes that wait for their last acknowledgement, at most.
const HANDSHAKES: usize = 32;

/// The answers that SYN-ACKs from links wait for: our port, the peer, the sequence number.
pub(super) type Handshakes = heapless::Deque<(u16, IpAddr, u16, TcpSeqNumber), HANDSHAKES>;

pub(super) trait Note {
    fn note(&mut self, frame: &[u8]);
}

impl Note for Handshakes {
    /// Remembers what a SYN-ACK from a link is to be answered with; the oldest is forgotten where
    /// there are too many, and its answer takes netfront.
    fn note(&mut self, frame: &[u8]) {
        let Some((packet, segment)) = tcp_segment(frame) else {
            return;
        };
        if !(segment.syn() && segment.ack()) {
            return;
        }
        if self.is_full() {
            self.pop_front();
        }
        let answer = (
            segment.dst_port(),
            packet.source,
            segment.src_port(),
            segment.ack_number(),
        );
        // There is room now.
        let _ = self.push_back(answer);
    }
}

/// What of an IP packet matters here.
struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: &'a [u8],
}

fn ip_packet(frame: &[u8]) -> Option<Packet<'_>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            Some(Packet {
                source: IpAddr::V4(packet.src_addr()),
                destination: IpAddr::V4(packet.dst_addr()),
                protocol: packet.next_header(),
                payload: packet.payload(),
            })
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            Some(Packet {
                source: IpAddr::V6(packet.src_addr()),
                destination: IpAddr::V6(packet.dst_addr()),
                protocol: packet.next_header(),
                payload: packet.payload(),
            })
        }
        _ => None,
    }
}

fn tcp_segment(frame: &[u8]) -> Option<(Packet<'_>, TcpPacket<&[u8]>)> {
    let packet = ip_packet(frame)?;
    if packet.protocol != IpProtocol::Tcp {
        return None;
    }
    let segment = TcpPacket::new_checked(packet.payload).ok()?;
    Some((packet, segment))
}

/// Where a frame goes, if it is of a kind that may take a link.
pub(super) fn destination(frame: &[u8], handshakes: &mut Handshakes) -> Option<IpAddr> {
    let packet = ip_packet(frame)?;
    let may = match packet.protocol {
        // What proves where a peer lives must go where the address is.
        IpProtocol::Udp => {
            let datagram = UdpPacket::new_checked(packet.payload).ok()?;
            datagram.dst_port() != vmc::PORT
        }
        IpProtocol::Tcp => {
            let segment = TcpPacket::new_checked(packet.payload).ok()?;
            let opens = segment.syn() && !segment.rst();
            opens || answers(&packet, &segment, handshakes)
        }
        _ => false,
    };
    may.then_some(packet.destination)
}

/// Whether a segment is the acknowledgement that a handshake over a link waits for.
fn answers(packet: &Packet<'_>, segment: &TcpPacket<&[u8]>, handshakes: &mut Handshakes) -> bool {
    if handshakes.is_empty() || !segment.payload().is_empty() || segment.fin() || segment.rst() {
        return false;
    }
    let answer = (
        segment.src_port(),
        packet.destination,
        segment.dst_port(),
        segment.seq_number(),
    );
    let waits = handshakes.iter().any(|waiting| *waiting == answer);
    if waits {
        handshakes.retain(|waiting| *waiting != answer);
    }
    waits
}
