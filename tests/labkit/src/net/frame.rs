//! Builds frames, right or wrong: Ethernet, ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), UDP
//! (RFC 768), TCP (RFC 9293), ICMP.
//!
//! The builders make correct packets; a test that wants a wrong one changes bytes afterwards, at
//! the offsets named here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv4's Ethernet type.
pub const IPV4: u16 = 0x0800;
/// ARP's Ethernet type.
pub const ARP: u16 = 0x0806;
/// IPv6's Ethernet type.
pub const IPV6: u16 = 0x86dd;

/// ICMP's protocol number.
pub const ICMP: u8 = 1;
/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;
/// ICMPv6's protocol number.
pub const ICMPV6: u8 = 58;

/// Bytes of an Ethernet header: the offset of the IP header in a frame.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of an IPv4 header without options: the offset of the transport header in a packet.
pub const IPV4_BYTES: usize = 20;
/// The offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: usize = 16;
/// The offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;

/// The TCP flag Finish, in the header's 14th byte, as the flags that follow.
pub const FIN: u8 = 0x01;
/// Synchronise.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// Acknowledge.
pub const ACK: u8 = 0x10;

/// The addresses of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Destination MAC address.
    pub to: [u8; 6],
    /// Source MAC address.
    pub from: [u8; 6],
}

/// The fields of a TCP header.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Source port.
    pub from: u16,
    /// Destination port.
    pub to: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
}

/// Builds an Ethernet frame without padding.
pub fn ethernet(link: Link, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_BYTES + payload.len());
    frame.extend(link.to);
    frame.extend(link.from);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Builds an ARP packet for IPv4 over Ethernet; `operation` is 1 for a request and 2 for a reply.
pub fn arp(operation: u16, sender: ([u8; 6], Ipv4Addr), target: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, ip) in [sender, target] {
        packet.extend(mac);
        packet.extend(ip.octets());
    }
    packet
}

/// Builds an IPv4 packet. `fragment` is the 16-bit field of flags and offset.
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(length(IPV4_BYTES + payload.len()));
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    fix_ipv4_checksum(&mut packet);
    packet.extend(payload);
    packet
}

/// Sets the correct header checksum of an IPv4 packet without options.
pub fn fix_ipv4_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..IPV4_BYTES]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Builds an IPv6 packet without extension headers.
pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload.len()));
    // Neighbour discovery requires 255 (RFC 4861, 6.1), and nothing else minds.
    packet.extend([next, 255]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// Builds an ICMP echo request.
pub fn icmp_echo(payload: &[u8]) -> Vec<u8> {
    icmp_echo_numbered(0x7777, 1, payload)
}

/// Builds an ICMP echo request with this identifier and sequence number (RFC 792).
pub fn icmp_echo_numbered(identifier: u16, number: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(number.to_be_bytes());
    message.extend(payload);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Builds a UDP datagram with its checksum for these IPv4 addresses.
pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(from.1.to_be_bytes());
    datagram.extend(to.1.to_be_bytes());
    datagram.extend(length(8 + payload.len()));
    datagram.extend([0, 0]);
    datagram.extend(payload);
    // A sum of zero is sent as all ones: zero means no checksum.
    let sum = match transport_checksum(from.0, to.0, UDP, &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[UDP_CHECKSUM..UDP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// Builds a TCP segment with its checksum for these IPv4 addresses. The length of `options` must be
/// a multiple of four bytes, at most 40.
pub fn tcp(
    from: Ipv4Addr,
    to: Ipv4Addr,
    segment: Segment,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + options.len() + payload.len());
    bytes.extend(segment.from.to_be_bytes());
    bytes.extend(segment.to.to_be_bytes());
    bytes.extend(segment.seq.to_be_bytes());
    bytes.extend(segment.ack.to_be_bytes());
    let words = (5 + options.len() / 4).min(15) as u8;
    bytes.extend([words << 4, segment.flags]);
    bytes.extend(segment.window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes.extend(payload);
    let sum = transport_checksum(from, to, TCP, &bytes);
    bytes[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Computes the checksum of a TCP or UDP packet whose checksum field is zero; the result is zero if
/// the field holds the correct one.
pub fn transport_checksum(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, packet: &[u8]) -> u16 {
    let pseudo = [0, protocol];
    checksum(&[
        &from.octets(),
        &to.octets(),
        &pseudo,
        &length(packet.len()),
        packet,
    ])
}

/// Computes the Internet checksum (RFC 1071) of parts that each begin at an even offset.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Encodes a length field, truncated if it does not fit, as a hostile sender's would be.
fn length(bytes: usize) -> [u8; 2] {
    (bytes as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::{
        ACK, IPV4_BYTES, PSH, Segment, TCP, UDP, arp, checksum, icmp_echo, ipv4, tcp,
        transport_checksum, udp,
    };
    use std::net::Ipv4Addr;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn the_sum_of_rfc_1071() {
        // RFC 1071, section 3: the example's words and their sum ddf2, complemented.
        let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&words]), !0xddf2);
    }

    #[test]
    fn packets_carry_right_checksums() {
        let packet = ipv4(A, B, UDP, 0, b"xyz");
        assert_eq!(checksum(&[&packet[..IPV4_BYTES]]), 0);
        assert_eq!(
            usize::from(u16::from_be_bytes([packet[2], packet[3]])),
            packet.len()
        );
        assert_eq!(checksum(&[&icmp_echo(b"odd")]), 0);
        let datagram = udp((A, 1000), (B, 7), b"hello");
        assert_eq!(transport_checksum(A, B, UDP, &datagram), 0);
        let segment = Segment {
            from: 1000,
            to: 7,
            seq: 1,
            ack: 2,
            flags: ACK | PSH,
            window: 100,
        };
        let bytes = tcp(A, B, segment, &[1, 1, 1, 0], b"abc");
        assert_eq!(transport_checksum(A, B, TCP, &bytes), 0);
        assert_eq!(bytes[12] >> 4, 6);
    }

    #[test]
    fn an_arp_request_has_28_bytes() {
        let packet = arp(1, ([1; 6], A), ([0; 6], B));
        assert_eq!(packet.len(), 28);
        assert_eq!(&packet[..8], &[0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(&packet[24..], &B.octets());
    }
}
