//! Lies in TCP, UDP and ICMP.

use super::Junk;
use crate::net::frame::{
    ACK, FIN, ICMP, IPV4, IPV4_BYTES, PSH, RST, SYN, Segment, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM,
    icmp_echo, tcp, transport_checksum, udp,
};

impl Junk {
    pub(super) fn checksum(&mut self) -> Vec<u8> {
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

    pub(super) fn tcp_junk(&mut self) -> Vec<u8> {
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
            // A header length that is shorter or longer than the header.
            bytes[12] = self.random.u8(0..16) << 4;
            bytes[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
            let sum = transport_checksum(from, to, TCP, &bytes);
            bytes[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        }
        self.to_guest(IPV4, &self.packet(TCP, &bytes))
    }

    pub(super) fn on_open_connection(&mut self) -> Vec<u8> {
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

    pub(super) fn datagrams(&mut self) -> Vec<u8> {
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
}
