//! Parses TCP and ICMP in captured frames, as far as the checks need it.

use std::net::Ipv4Addr;

use super::frame::{ETHERNET_BYTES, ICMP, IPV4_BYTES, TCP};

/// A TCP segment seen on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Source address and port.
    pub from: (Ipv4Addr, u16),
    /// Destination address and port.
    pub to: (Ipv4Addr, u16),
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Data.
    pub payload: Vec<u8>,
}

/// Parses the TCP segment in an Ethernet frame with an IPv4 packet; returns `None` for anything
/// else.
pub fn tcp(frame: &[u8]) -> Option<Seen> {
    let (from, to, protocol, body) = ipv4(frame)?;
    if protocol != TCP {
        return None;
    }
    let header = usize::from(body.get(12)? >> 4) * 4;
    Some(Seen {
        from: (from, half(body, 0)?),
        to: (to, half(body, 2)?),
        seq: word(body, 4)?,
        ack: word(body, 8)?,
        flags: *body.get(13)?,
        payload: body.get(header..)?.to_vec(),
    })
}

/// Returns the sender of an ICMP echo reply and its data, with identifier and number in front.
pub fn echo_reply(frame: &[u8]) -> Option<(Ipv4Addr, Vec<u8>)> {
    let (from, _, protocol, body) = ipv4(frame)?;
    (protocol == ICMP && body.first() == Some(&0)).then(|| (from, body[4..].to_vec()))
}

fn ipv4(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u8, &[u8])> {
    let kind = half(frame, 12)?;
    let packet = frame.get(ETHERNET_BYTES..)?;
    if kind != super::frame::IPV4 || packet.len() < IPV4_BYTES || packet[0] >> 4 != 4 {
        return None;
    }
    let header = usize::from(packet[0] & 15) * 4;
    let length = usize::from(half(packet, 2)?);
    let body = packet.get(header..length.min(packet.len()))?;
    let address = |at| word(packet, at).map(Ipv4Addr::from_bits);
    (body.len() >= 8).then_some((address(12)?, address(16)?, packet[9], body))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::frame::{self, ACK, IPV4, Link, Segment, ethernet, ipv4};
    use super::{echo_reply, tcp};
    use std::net::Ipv4Addr;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const LINK: Link = Link {
        to: [2; 6],
        from: [1; 6],
    };

    #[test]
    fn what_was_built_is_read() {
        let segment = Segment {
            from: 40_000,
            to: 7,
            seq: 0x1234_5678,
            ack: 9,
            flags: ACK,
            window: 100,
        };
        let bytes = frame::tcp(A, B, segment, &[1; 4], b"data");
        let mut whole = ethernet(LINK, IPV4, &ipv4(A, B, frame::TCP, 0, &bytes));
        // Padding at the end of a short frame is no data.
        whole.extend([0; 10]);
        let seen = tcp(&whole).expect("a TCP frame");
        assert_eq!((seen.from, seen.to), ((A, 40_000), (B, 7)));
        assert_eq!((seen.seq, seen.ack, seen.flags), (0x1234_5678, 9, ACK));
        assert_eq!(seen.payload, b"data");
        assert_eq!(echo_reply(&whole), None);
    }

    #[test]
    fn no_prefix_of_a_frame_is_too_much() {
        let reply = [0, 0, 0, 0, 1, 2, 3, 4, 5];
        let whole = ethernet(LINK, IPV4, &ipv4(B, A, frame::ICMP, 0, &reply));
        assert_eq!(echo_reply(&whole), Some((B, vec![1, 2, 3, 4, 5])));
        for length in 0..whole.len() {
            let _ = (tcp(&whole[..length]), echo_reply(&whole[..length]));
        }
    }
}
