//! Seeded hostile frames: everything that a neighbour on the link can send and should not.
//!
//! Most of them are right up to one lie, because those get furthest into a stack. Frames that a
//! stack must believe (a well-formed ARP answer for dom0's own address, a reset with the right
//! sequence number) are left out: they do what they say on any host.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::frame::{
    ACK, ARP, ETHERNET_BYTES, FIN, ICMP, ICMPV6, IPV4, IPV4_BYTES, IPV6, Link, PSH, RST, SYN,
    Segment, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM, arp, ethernet, fix_ipv4_checksum, icmp_echo,
    ipv4, ipv6, tcp, udp,
};

/// Whom the frames are for, and in whose name they are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// MAC addresses of the guest and of its neighbour.
    pub(crate) link: Link,
    /// The guest.
    pub(crate) guest: Ipv4Addr,
    /// The guest's IPv6 address.
    pub(crate) guest6: Ipv6Addr,
    /// The neighbour.
    pub(crate) neighbour: Ipv4Addr,
    /// The neighbour's port of an open connection to the guest's port 7.
    pub(crate) open_port: u16,
    /// A sequence number far outside that connection's window.
    pub(crate) outside_window: u32,
    /// The largest frame that may be made, in bytes.
    pub(crate) max_frame: usize,
}

/// A source of hostile frames.
#[derive(Debug)]
pub(crate) struct Junk {
    random: fastrand::Rng,
    target: Target,
}

type Maker = fn(&mut Junk) -> Vec<u8>;

/// The kinds of frames and how each is made.
const KINDS: [(&str, Maker); 12] = [
    ("short", Junk::short),
    ("oversized", Junk::oversized),
    ("truncated", Junk::truncated),
    ("IPv4 header", Junk::ip_header),
    ("checksum", Junk::checksum),
    ("fragment", Junk::fragment),
    ("ARP", Junk::bad_arp),
    ("IPv6", Junk::ipv6_junk),
    ("TCP", Junk::tcp_junk),
    ("open connection", Junk::on_open_connection),
    ("UDP and ICMP", Junk::datagrams),
    ("random", Junk::noise),
];

impl Junk {
    /// The frames of `seed`.
    pub(crate) fn new(target: Target, seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            target,
        }
    }

    /// The next frame and its kind.
    pub(crate) fn next_frame(&mut self) -> (&'static str, Vec<u8>) {
        let (kind, make) = KINDS[self.random.usize(0..KINDS.len())];
        let mut frame = make(self);
        frame.truncate(self.target.max_frame);
        (kind, frame)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.random.fill(&mut bytes);
        bytes
    }

    fn some_bytes(&mut self, limit: usize) -> Vec<u8> {
        let count = self.random.usize(0..=limit);
        self.bytes(count)
    }

    fn kind(&mut self) -> u16 {
        match self.random.u8(0..6) {
            0 | 1 => IPV4,
            2 => ARP,
            3 => IPV6,
            // A VLAN tag, and anything: below 1536 it would be an 802.3 length.
            4 => 0x8100,
            _ => self.random.u16(..),
        }
    }

    fn to_guest(&self, kind: u16, payload: &[u8]) -> Vec<u8> {
        ethernet(self.target.link, kind, payload)
    }

    fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        ipv4(
            self.target.neighbour,
            self.target.guest,
            protocol,
            0,
            payload,
        )
    }

    /// A correct packet of one of the protocols.
    fn good_packet(&mut self) -> Vec<u8> {
        let data = self.some_bytes(200);
        let (from, to) = (self.target.neighbour, self.target.guest);
        match self.random.u8(0..3) {
            0 => self.packet(ICMP, &icmp_echo(&data)),
            1 => {
                let port = self.random.u16(1024..);
                self.packet(UDP, &udp((from, port), (to, 7), &data))
            }
            _ => {
                let segment = self.segment();
                self.packet(TCP, &tcp(from, to, segment, &[], &data))
            }
        }
    }

    /// A segment of no connection.
    fn segment(&mut self) -> Segment {
        let ports = [7, 9, 19, 25, 0, self.random.u16(..)];
        let mut from = self.random.u16(..);
        if from == self.target.open_port {
            from ^= 1;
        }
        Segment {
            from,
            to: ports[self.random.usize(0..ports.len())],
            seq: self.random.u32(..),
            ack: self.random.u32(..),
            flags: self.random.u8(..),
            window: self.random.u16(..),
        }
    }

    fn short(&mut self) -> Vec<u8> {
        let kind = self.kind();
        let mut payload = self.some_bytes(45);
        if kind == IPV4 && !payload.is_empty() {
            payload[0] = 0x45;
        }
        self.to_guest(kind, &payload)
    }

    fn oversized(&mut self) -> Vec<u8> {
        let data = self.random.usize(1473..9000);
        let data = self.bytes(data);
        let (from, to) = (self.target.neighbour, self.target.guest);
        let kind = self.kind();
        if self.random.bool() {
            let datagram = udp((from, 9), (to, 7), &data);
            self.to_guest(IPV4, &self.packet(UDP, &datagram))
        } else {
            self.to_guest(kind, &data)
        }
    }

    fn truncated(&mut self) -> Vec<u8> {
        let packet = self.good_packet();
        let mut frame = self.to_guest(IPV4, &packet);
        frame.truncate(self.random.usize(ETHERNET_BYTES..frame.len()));
        frame
    }

    fn ip_header(&mut self) -> Vec<u8> {
        let mut packet = self.good_packet();
        match self.random.u8(0..6) {
            // Version and header length, in every combination.
            0 => packet[0] = self.random.u8(..),
            1 => packet[0] = 0x40 | self.random.u8(0..16),
            // Total length: longer than the frame, shorter than the header, anything.
            2 => packet[2..4].copy_from_slice(&u16::MAX.to_be_bytes()),
            3 => packet[2..4].copy_from_slice(&self.random.u16(0..28).to_be_bytes()),
            // Source: broadcast, multicast, loopback, the guest itself.
            4 => {
                let guest = self.target.guest.octets();
                let sources = [[255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [0; 4], guest];
                packet[12..16].copy_from_slice(&sources[self.random.usize(0..sources.len())]);
            }
            _ => packet[9] = self.random.u8(..),
        }
        if self.random.u8(0..4) != 0 {
            fix_ipv4_checksum(&mut packet);
        }
        self.to_guest(IPV4, &packet)
    }

    fn checksum(&mut self) -> Vec<u8> {
        let mut packet = self.good_packet();
        let at = match (self.random.bool(), packet[9]) {
            (true, _) => 10,
            (false, TCP) => IPV4_BYTES + TCP_CHECKSUM,
            (false, UDP) => IPV4_BYTES + UDP_CHECKSUM,
            (false, _) => IPV4_BYTES + 2,
        };
        packet[at] ^= self.random.u8(1..);
        self.to_guest(IPV4, &packet)
    }

    fn fragment(&mut self) -> Vec<u8> {
        let data = self.some_bytes(600);
        let (from, to) = (self.target.neighbour, self.target.guest);
        // More-fragments flag and any offset: tiny, overlapping, beyond 64 KiB. The identification
        // is always the same, so they meet in one reassembly.
        let more = u16::from(self.random.bool()) << 13;
        let offset = match self.random.u8(0..3) {
            0 => self.random.u16(0..64),
            1 => 0x1fff - self.random.u16(0..64),
            _ => 0,
        };
        let protocol = [UDP, TCP, ICMP][self.random.usize(0..3)];
        self.to_guest(IPV4, &ipv4(from, to, protocol, more | offset, &data))
    }

    fn bad_arp(&mut self) -> Vec<u8> {
        let (dom0_mac, guest) = (self.target.link.from, self.target.guest);
        // Somebody else's addresses: the neighbour's own binding is not touched.
        let other = Ipv4Addr::new(10, 0, 0, self.random.u8(100..250));
        let other_mac = [2, 0, 0, 0, 0, self.random.u8(..)];
        let operation = self.random.u16(1..3);
        let mut packet = arp(operation, (other_mac, other), ([0; 6], guest));
        match self.random.u8(0..8) {
            // Spoofed, but well formed.
            0 => {}
            1 => packet.truncate(self.random.usize(0..28)),
            2 => packet[4] = self.random.u8(..),
            3 => packet[5] = self.random.u8(..),
            4 => packet[..2].copy_from_slice(&self.random.u16(..).to_be_bytes()),
            5 => packet[6..8].copy_from_slice(&self.random.u16(3..).to_be_bytes()),
            // A broadcast or multicast hardware address, or the guest's own IP address.
            6 => packet[8..14].fill(0xff),
            _ => packet = arp(operation, (dom0_mac, guest), ([0; 6], guest)),
        }
        let link = Link {
            to: if self.random.bool() {
                [0xff; 6]
            } else {
                self.target.link.to
            },
            from: dom0_mac,
        };
        ethernet(link, ARP, &packet)
    }

    fn ipv6_junk(&mut self) -> Vec<u8> {
        let from = Ipv6Addr::new(0xfd00, 0xca, 0, 0, 0, 0, 0, self.random.u16(100..));
        let mut body = self.some_bytes(120);
        let next = match self.random.u8(0..4) {
            // Neighbour discovery types with options of any length, zero among them.
            0 => {
                body.insert(0, self.random.u8(133..138));
                ICMPV6
            }
            // Extension headers that announce each other.
            1 => {
                for byte in body.iter_mut().step_by(8) {
                    *byte = [0, 43, 44, 60][self.random.usize(0..4)];
                }
                [0, 43, 44, 60][self.random.usize(0..4)]
            }
            2 => [TCP, UDP, ICMPV6, 59][self.random.usize(0..4)],
            _ => self.random.u8(..),
        };
        let mut packet = ipv6(from, self.target.guest6, next, &body);
        if self.random.u8(0..4) == 0 {
            packet[4..6].copy_from_slice(&self.random.u16(..).to_be_bytes());
        }
        self.to_guest(IPV6, &packet)
    }

    fn tcp_junk(&mut self) -> Vec<u8> {
        let (from, to) = (self.target.neighbour, self.target.guest);
        let mut segment = self.segment();
        let sets = [
            0,
            0xff,
            SYN | FIN,
            SYN | RST,
            FIN,
            SYN | ACK,
            FIN | PSH | 0x20,
            RST | ACK,
        ];
        segment.flags = match self.random.usize(0..sets.len() + 1) {
            at if at < sets.len() => sets[at],
            _ => self.random.u8(..),
        };
        // Options of any length, with lengths of 0 and 1 and beyond the header's end.
        let count = self.random.usize(0..=10) * 4;
        let mut options = self.bytes(count);
        if let [first, second, ..] = options.as_mut_slice() {
            *first = [2, 3, 4, 5, 8, 30, 254][self.random.usize(0..7)];
            *second = [0, 1, 2, 40, 255][self.random.usize(0..5)];
        }
        let data = self.some_bytes(60);
        let mut bytes = tcp(from, to, segment, &options, &data);
        if self.random.u8(0..4) == 0 {
            // A header that is shorter or longer than what is there.
            bytes[12] = self.random.u8(0..16) << 4;
            bytes[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
            let sum = super::frame::transport_checksum(from, to, TCP, &bytes);
            bytes[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        }
        self.to_guest(IPV4, &self.packet(TCP, &bytes))
    }

    fn on_open_connection(&mut self) -> Vec<u8> {
        let (from, to) = (self.target.neighbour, self.target.guest);
        let segment = Segment {
            from: self.target.open_port,
            to: 7,
            seq: self
                .target
                .outside_window
                .wrapping_add(self.random.u32(0..1 << 24)),
            ack: self.random.u32(..),
            flags: [RST, RST | ACK, SYN, FIN | ACK, ACK | PSH][self.random.usize(0..5)],
            window: self.random.u16(..),
        };
        let data = self.some_bytes(100);
        self.to_guest(IPV4, &self.packet(TCP, &tcp(from, to, segment, &[], &data)))
    }

    fn datagrams(&mut self) -> Vec<u8> {
        let (from, to) = (self.target.neighbour, self.target.guest);
        let data = self.some_bytes(300);
        if self.random.bool() {
            // Echo, DNS and DHCP ports and none, with a length field that may lie.
            let ports = [7, 9, 53, 67, 68, 0, self.random.u16(..)];
            let port = ports[self.random.usize(0..ports.len())];
            let mut datagram = udp((from, ports[self.random.usize(0..5)]), (to, port), &data);
            if self.random.bool() {
                let length = [0, 7, 8, u16::MAX, self.random.u16(..)];
                let length = length[self.random.usize(0..5)];
                datagram[4..6].copy_from_slice(&length.to_be_bytes());
                // Without a checksum, so that only the length is wrong.
                datagram[UDP_CHECKSUM..UDP_CHECKSUM + 2].fill(0);
            }
            self.to_guest(IPV4, &self.packet(UDP, &datagram))
        } else {
            let mut message = icmp_echo(&data);
            // Another type under a checksum that is right again (RFC 1624 is not needed here).
            message[0] = self.random.u8(..);
            message[1] = self.random.u8(..);
            self.to_guest(IPV4, &self.packet(ICMP, &message))
        }
    }

    fn noise(&mut self) -> Vec<u8> {
        let link = Link {
            to: match self.random.u8(0..4) {
                0 => [0xff; 6],
                1 => [0x33, 0x33, 0, 0, 0, 1],
                2 => [2, 9, 9, 9, 9, 9],
                _ => self.target.link.to,
            },
            from: [2, 0, 0, 0, 1, self.random.u8(..)],
        };
        let kind = self.kind();
        let payload = self.some_bytes(1500);
        ethernet(link, kind, &payload)
    }
}

#[cfg(test)]
mod tests {
    use super::{Junk, KINDS, Target};
    use crate::net::frame::{ETHERNET_BYTES, Link};
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn target() -> Target {
        Target {
            link: Link {
                to: [1; 6],
                from: [2; 6],
            },
            guest: Ipv4Addr::new(10, 0, 0, 2),
            guest6: Ipv6Addr::LOCALHOST,
            neighbour: Ipv4Addr::new(10, 0, 0, 1),
            open_port: 40_000,
            outside_window: 5,
            max_frame: 1514,
        }
    }

    #[test]
    fn every_kind_is_made_within_the_limit_and_by_the_seed() {
        let (mut one, mut two) = (Junk::new(target(), 9), Junk::new(target(), 9));
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        for _ in 0..20_000 {
            let (kind, frame) = one.next_frame();
            assert_eq!(two.next_frame(), (kind, frame.clone()));
            assert!((ETHERNET_BYTES..=1514).contains(&frame.len()), "{kind}");
            *kinds.entry(kind).or_default() += 1;
        }
        assert_eq!(kinds.len(), KINDS.len());
    }
}
