//! Seeded hostile frames: everything that a neighbour on the link can send but should not.
//!
//! Most of them are correct except for one lie, because those get furthest into a stack. Frames
//! that any stack must believe (a well-formed ARP reply for dom0's own address, a reset with the
//! correct sequence number) are left out.

mod network;
mod transport;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::frame::{
    ARP, ETHERNET_BYTES, ICMP, IPV4, IPV6, Link, Segment, TCP, UDP, ethernet, icmp_echo, ipv4, tcp,
    udp,
};

/// The receiver of the frames, and the neighbour in whose name they are sent.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// MAC addresses of the guest and of its neighbour.
    pub link: Link,
    /// The guest.
    pub guest: Ipv4Addr,
    /// The guest's IPv6 address.
    pub guest6: Ipv6Addr,
    /// The neighbour.
    pub neighbour: Ipv4Addr,
    /// The neighbour's port of an open connection to port 7 of the guest.
    pub open_port: u16,
    /// A sequence number far outside that connection's window.
    pub outside_window: u32,
    /// The largest frame to make, in bytes.
    pub max_frame: usize,
}

/// A source of hostile frames.
#[derive(Debug)]
pub struct Junk {
    random: fastrand::Rng,
    target: Target,
}

type Maker = fn(&mut Junk) -> Vec<u8>;

/// The kinds of frames and their makers.
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
    /// A source of the frames of `seed`.
    pub fn new(target: Target, seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            target,
        }
    }

    /// Returns the kind and the bytes of the next frame.
    pub fn next_frame(&mut self) -> (&'static str, Vec<u8>) {
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

    /// Makes a correct packet of one of the protocols.
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

    /// Makes a segment that belongs to no connection.
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
