//! Finds the payload of the IP packet in an Ethernet frame, and checks every length. The driver
//! needs it for checksums and segmentation; smoltcp parses the frame again for itself.

use core::ops::Range;

pub(super) use crate::packet::ETHERNET;

/// Protocol numbers (IANA "Assigned Internet Protocol Numbers").
pub(super) mod protocol {
    pub(in super::super) const ICMP: u8 = 1;
    pub(in super::super) const TCP: u8 = 6;
    pub(in super::super) const UDP: u8 = 17;
    pub(in super::super) const ICMPV6: u8 = 58;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// IPv6 extension headers to walk over at most.
const MAX_EXTENSIONS: usize = 8;

/// The IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Not IP: ARP, or a protocol that the guest does not speak.
    Other,
    /// A packet whose lengths contradict each other.
    Malformed,
    /// A piece of a fragmented packet.
    Fragment,
    /// An IP packet.
    Ip(Packet),
}

/// The places of an IP packet's parts in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) version: Version,
    /// The upper-layer protocol.
    pub(super) protocol: u8,
    /// The upper layer's header and data.
    pub(super) payload: Range<usize>,
}

impl Packet {
    /// Returns the place of the addresses in the frame: source, then destination.
    pub(super) fn addresses(&self) -> Range<usize> {
        match self.version {
            Version::V4 => ETHERNET + 12..ETHERNET + 20,
            Version::V6 => ETHERNET + 8..ETHERNET + 40,
        }
    }

    /// Returns the offset of the upper layer's checksum in the frame; `None` if the protocol has
    /// none or the payload is too short for it.
    pub(super) fn checksum_at(&self) -> Option<usize> {
        let (offset, header) = match (self.protocol, self.version) {
            (protocol::TCP, _) => (16, 20),
            (protocol::UDP, _) => (6, 8),
            (protocol::ICMP, Version::V4) | (protocol::ICMPV6, Version::V6) => (2, 4),
            _ => return None,
        };
        (self.payload.len() >= header).then_some(self.payload.start + offset)
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Finds out what a frame carries.
pub(super) fn content(frame: &[u8]) -> Content {
    if frame.len() < ETHERNET {
        return Content::Malformed;
    }
    match half(frame, 12) {
        ETHERTYPE_IPV4 => ipv4(frame),
        ETHERTYPE_IPV6 => ipv6(frame),
        _ => Content::Other,
    }
}

/// RFC 791 section 3.1.
fn ipv4(frame: &[u8]) -> Content {
    let ip = &frame[ETHERNET..];
    if ip.len() < 20 || ip[0] >> 4 != 4 {
        return Content::Malformed;
    }
    let header = usize::from(ip[0] & 0x0f) * 4;
    let total = usize::from(half(ip, 2));
    if header < 20 || total < header || total > ip.len() {
        return Content::Malformed;
    }
    // "More fragments" or an offset: neither is the whole packet.
    if half(ip, 6) & 0x3fff != 0 {
        return Content::Fragment;
    }
    Content::Ip(Packet {
        version: Version::V4,
        protocol: ip[9],
        payload: ETHERNET + header..ETHERNET + total,
    })
}

/// RFC 8200 sections 3 and 4.
fn ipv6(frame: &[u8]) -> Content {
    let ip = &frame[ETHERNET..];
    if ip.len() < 40 || ip[0] >> 4 != 6 {
        return Content::Malformed;
    }
    let end = 40 + usize::from(half(ip, 4));
    if end > ip.len() {
        return Content::Malformed;
    }
    let (mut next, mut at) = (ip[6], 40);
    for _ in 0..MAX_EXTENSIONS {
        match next {
            // Hop-by-hop options, routing, destination options: length in units of 8 bytes.
            0 | 43 | 60 => {
                if end - at < 8 {
                    return Content::Malformed;
                }
                next = ip[at];
                at += 8 * (usize::from(ip[at + 1]) + 1);
                if at > end {
                    return Content::Malformed;
                }
            }
            44 => return Content::Fragment,
            _ => {
                return Content::Ip(Packet {
                    version: Version::V6,
                    protocol: next,
                    payload: ETHERNET + at..ETHERNET + end,
                });
            }
        }
    }
    Content::Malformed
}

/// Whether a frame is a TCP segment with the ACK flag (RFC 9293 section 3.1).
pub(super) fn is_tcp_ack(frame: &[u8]) -> bool {
    const FLAGS: usize = 13;
    const ACK: u8 = 0x10;
    match content(frame) {
        Content::Ip(packet) if packet.protocol == protocol::TCP => frame
            .get(packet.payload)
            .and_then(|segment| segment.get(FLAGS))
            .is_some_and(|flags| flags & ACK != 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn frame(ethertype: u16, ip: &[u8]) -> Vec<u8> {
        let mut frame = alloc::vec![0; 12];
        frame.extend_from_slice(&ethertype.to_be_bytes());
        frame.extend_from_slice(ip);
        frame
    }

    fn v4(change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut ip = [0; 40];
        (ip[0], ip[3], ip[9]) = (0x45, 40, protocol::TCP);
        change(&mut ip);
        frame(ETHERTYPE_IPV4, &ip)
    }

    #[test]
    fn ipv4_lengths() {
        let packet = Packet {
            version: Version::V4,
            protocol: protocol::TCP,
            payload: 34..54,
        };
        assert_eq!(packet.checksum_at(), Some(50));
        assert_eq!(content(&v4(|_| ())), Content::Ip(packet));
        assert_eq!(content(&v4(|ip| ip[0] = 0x44)), Content::Malformed);
        assert_eq!(content(&v4(|ip| ip[0] = 0x65)), Content::Malformed);
        assert_eq!(content(&v4(|ip| ip[3] = 41)), Content::Malformed);
        assert_eq!(content(&v4(|ip| ip[3] = 19)), Content::Malformed);
        assert_eq!(content(&v4(|ip| ip[6] = 0x20)), Content::Fragment);
        assert_eq!(content(&v4(|ip| ip[7] = 1)), Content::Fragment);
        assert!(matches!(content(&v4(|ip| ip[6] = 0x40)), Content::Ip(_)));
    }

    #[test]
    fn ipv6_extension_headers() {
        let build = |next: u8, extension: &[u8], claimed: u8| {
            let mut ip = [0; 40].to_vec();
            (ip[0], ip[5], ip[6]) = (0x60, claimed, next);
            ip.extend_from_slice(extension);
            frame(ETHERTYPE_IPV6, &ip)
        };
        let udp = |start: usize, end: usize| {
            Content::Ip(Packet {
                version: Version::V6,
                protocol: protocol::UDP,
                payload: start..end,
            })
        };
        assert_eq!(content(&build(17, &[0; 8], 8)), udp(54, 62));
        assert_eq!(
            content(&build(0, &[17, 0, 0, 0, 0, 0, 0, 0], 8)),
            udp(62, 62)
        );
        assert_eq!(
            content(&build(60, &[17, 1, 0, 0, 0, 0, 0, 0], 8)),
            Content::Malformed
        );
        assert_eq!(content(&build(44, &[0; 8], 8)), Content::Fragment);
        assert_eq!(content(&build(17, &[0; 8], 9)), Content::Malformed);
        // Headers that go on for ever.
        let chain = [[0, 0, 0, 0, 0, 0, 0, 0]; 9].concat();
        assert_eq!(content(&build(0, &chain, 72)), Content::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_safely(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            ipv6 in any::<bool>(),
        ) {
            if bytes.len() > 14 {
                let (ethertype, first) = if ipv6 { ([0x86, 0xdd], 0x60) } else { ([8, 0], 0x45) };
                bytes[12..14].copy_from_slice(&ethertype);
                bytes[14] = first;
            }
            if let Content::Ip(packet) = content(&bytes) {
                proptest::prop_assert!(packet.payload.end <= bytes.len());
                proptest::prop_assert!(packet.payload.start <= packet.payload.end);
                if let Some(at) = packet.checksum_at() {
                    proptest::prop_assert!(at + 2 <= packet.payload.end);
                }
            }
        }
    }
}
