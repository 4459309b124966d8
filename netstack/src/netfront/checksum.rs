//! Internet checksums (RFC 1071), packet by packet: smoltcp has one rule for a whole device, while
//! netback tells for each packet whether its checksum is blank, known to be right, or unknown.

use super::headers::{Content, ETHERNET, Packet, Version, content, protocol};

/// The result of checking a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every checksum is right, or there is none.
    Good,
    /// A checksum is wrong.
    Bad,
    /// The frame holds a fragment, which smoltcp would take for a whole packet.
    Fragment,
    /// Lengths in the frame contradict each other.
    Malformed,
}

/// Whether netback vouches for the upper layer's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is blank or has been checked.
    Vouched,
    /// It has to be checked here.
    Unknown,
}

/// Checks a received frame.
pub(super) fn check(frame: &[u8], trust: Trust) -> Verdict {
    let packet = match content(frame) {
        Content::Other => return Verdict::Good,
        Content::Malformed => return Verdict::Malformed,
        Content::Fragment => return Verdict::Fragment,
        Content::Ip(packet) => packet,
    };
    if packet.version == Version::V4 {
        let header = usize::from(frame[ETHERNET] & 0x0f) * 4;
        if fold(sum(&frame[ETHERNET..ETHERNET + header])) != 0xffff {
            return Verdict::Bad;
        }
    }
    if trust == Trust::Vouched {
        return Verdict::Good;
    }
    let Some(at) = packet.checksum_at() else {
        // Shorter than its header, or a protocol without a checksum: smoltcp refuses it if need be.
        return Verdict::Good;
    };
    let mut data = packet.payload.clone();
    if packet.protocol == protocol::UDP {
        let length = usize::from(u16::from_be_bytes([
            frame[data.start + 4],
            frame[data.start + 5],
        ]));
        if length < 8 || length > data.len() {
            return Verdict::Malformed;
        }
        data.end = data.start + length;
        if frame[at..at + 2] == [0, 0] {
            // No checksum, which RFC 768 allows and RFC 8200 section 8.1 does not.
            return match packet.version {
                Version::V4 => Verdict::Good,
                Version::V6 => Verdict::Bad,
            };
        }
    }
    let total = pseudo_header(frame, &packet, data.len()) + sum(&frame[data]);
    if fold(total) == 0xffff {
        Verdict::Good
    } else {
        Verdict::Bad
    }
}

/// How a transmitted TCP or UDP packet gets its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// The field holds the pseudo-header's sum, from which the backend completes it.
    PseudoHeader,
    /// It is computed here.
    Complete,
}

/// Fills the checksum of a TCP or UDP packet that smoltcp left blank. Returns `None` for any other
/// frame, which is complete as it is. `offload` tells for which IP versions the backend completes
/// the checksum.
pub(super) fn fill(frame: &mut [u8], offload: impl Fn(Version) -> bool) -> Option<Fill> {
    let Content::Ip(packet) = content(frame) else {
        return None;
    };
    if !matches!(packet.protocol, protocol::TCP | protocol::UDP) {
        return None;
    }
    let at = packet.checksum_at()?;
    let pseudo = pseudo_header(frame, &packet, packet.payload.len());
    frame[at..at + 2].fill(0);
    let (value, how) = if offload(packet.version) {
        (fold(pseudo), Fill::PseudoHeader)
    } else {
        let complete = !fold(pseudo + sum(&frame[packet.payload.clone()]));
        // 0 means "no checksum" in UDP; its other representation is the same number.
        let udp_zero = complete == 0 && packet.protocol == protocol::UDP;
        (if udp_zero { 0xffff } else { complete }, Fill::Complete)
    };
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
    Some(how)
}

/// Returns the sum over the pseudo-header of RFC 9293 section 3.1 and RFC 8200 section 8.1; 0 for
/// ICMP over IPv4, which has none.
fn pseudo_header(frame: &[u8], packet: &Packet, len: usize) -> u64 {
    if packet.protocol == protocol::ICMP {
        return 0;
    }
    sum(&frame[packet.addresses()]) + u64::from(packet.protocol) + len as u64
}

/// Returns the sum of big-endian 16-bit words, not yet folded; an odd last byte is padded with
/// zero. Up to 2^32 words do not overflow.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        // Two words at once: the carries between the halves come back in `fold`.
        total += u64::from(u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    }
    let mut last = [0; 4];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_be_bytes(last))
}

/// Folds carries until 16 bits are left.
pub(super) fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::{any, prop, proptest};
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, IpRepr, UdpPacket, UdpRepr,
    };

    use super::*;

    /// A UDP packet as smoltcp builds it, with its checksum or without.
    fn udp(ipv6: bool, payload: &[u8], checksums: &ChecksumCapabilities) -> Vec<u8> {
        let udp = UdpRepr {
            src_port: 1000,
            dst_port: 2000,
        };
        let (src, dst) = if ipv6 {
            ("fd00::1", "fd00::2")
        } else {
            ("10.0.0.1", "10.0.0.2")
        };
        let (src, dst) = (src.parse().expect("address"), dst.parse().expect("address"));
        let ip = IpRepr::new(src, dst, IpProtocol::Udp, 8 + payload.len(), 64);
        let mut bytes = alloc::vec![0; ETHERNET + ip.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_dst_addr(EthernetAddress([2; 6]));
        frame.set_ethertype(if ipv6 {
            EthernetProtocol::Ipv6
        } else {
            EthernetProtocol::Ipv4
        });
        ip.emit(frame.payload_mut(), &ChecksumCapabilities::default());
        let at = ETHERNET + ip.header_len();
        udp.emit(
            &mut UdpPacket::new_unchecked(&mut bytes[at..]),
            &src,
            &dst,
            payload.len(),
            |buf| buf.copy_from_slice(payload),
            checksums,
        );
        bytes
    }

    fn blank() -> ChecksumCapabilities {
        ChecksumCapabilities::ignored()
    }

    #[test]
    fn known_sum() {
        // The example of RFC 1071 section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(fold(sum(&[0x12])), 0x1200);
        assert_eq!(fold(sum(&[])), 0);
    }

    #[test]
    fn a_vouched_packet_may_be_blank_and_an_unknown_one_not() {
        let mut frame = udp(false, b"hello", &ChecksumCapabilities::default());
        frame[40] ^= 0x55;
        assert_eq!(check(&frame, Trust::Vouched), Verdict::Good);
        assert_eq!(check(&frame, Trust::Unknown), Verdict::Bad);
    }

    #[test]
    fn the_ipv4_header_is_always_checked() {
        let mut frame = udp(false, b"hello", &ChecksumCapabilities::default());
        frame[22] ^= 1; // time to live
        assert_eq!(check(&frame, Trust::Vouched), Verdict::Bad);
    }

    #[test]
    fn udp_without_checksum() {
        assert_eq!(
            check(&udp(false, b"x", &blank()), Trust::Unknown),
            Verdict::Good
        );
        assert_eq!(
            check(&udp(true, b"x", &blank()), Trust::Unknown),
            Verdict::Bad
        );
    }

    #[test]
    fn udp_length_is_checked() {
        let mut frame = udp(false, b"hello", &ChecksumCapabilities::default());
        frame[39] = 7;
        assert_eq!(check(&frame, Trust::Unknown), Verdict::Malformed);
        frame[39] = 14;
        assert_eq!(check(&frame, Trust::Unknown), Verdict::Malformed);
    }

    #[test]
    fn arp_passes_and_scraps_do_not() {
        let mut frame = alloc::vec![0; 42];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(check(&frame, Trust::Unknown), Verdict::Good);
        assert_eq!(check(&frame[..13], Trust::Unknown), Verdict::Malformed);
        assert_eq!(fill(&mut frame, |_| true), None);
    }

    proptest! {
        #[test]
        fn filled_checksums_are_smoltcps(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            ipv6 in any::<bool>(),
        ) {
            let expected = udp(ipv6, &payload, &ChecksumCapabilities::default());
            let mut frame = udp(ipv6, &payload, &blank());
            proptest::prop_assert_eq!(fill(&mut frame, |_| false), Some(Fill::Complete));
            proptest::prop_assert_eq!(&frame, &expected);
            proptest::prop_assert_eq!(check(&frame, Trust::Unknown), Verdict::Good);
        }

        #[test]
        fn a_backend_completes_the_pseudo_header_sum(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            ipv6 in any::<bool>(),
        ) {
            let expected = udp(ipv6, &payload, &ChecksumCapabilities::default());
            let mut frame = udp(ipv6, &payload, &blank());
            proptest::prop_assert_eq!(fill(&mut frame, |_| true), Some(Fill::PseudoHeader));
            // What skb_checksum_help does in dom0: sum the payload, field included.
            let start = if ipv6 { 54 } else { 34 };
            let complete = !fold(sum(&frame[start..]));
            frame[start + 6..start + 8].copy_from_slice(&complete.to_be_bytes());
            if complete != 0 {
                proptest::prop_assert_eq!(frame, expected);
            }
        }

        #[test]
        fn one_flipped_bit_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            bit in 0..8u32,
        ) {
            let mut frame = udp(false, &payload, &ChecksumCapabilities::default());
            // Anywhere in the UDP packet but the checksum, whose 0 means "none".
            let len = frame.len();
            let at = 34 + at.index(len - 34);
            proptest::prop_assume!(!(40..42).contains(&at));
            frame[at] ^= 1 << bit;
            proptest::prop_assert_ne!(check(&frame, Trust::Unknown), Verdict::Good);
        }
    }
}
