//! Lies in IPv4, IPv6 and ARP.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Junk;
use crate::net::frame::{
    ARP, ICMP, ICMPV6, IPV4, IPV6, Link, TCP, UDP, arp, ethernet, fix_ipv4_checksum, ipv4, ipv6,
};

impl Junk {
    pub(super) fn ip_header(&mut self) -> Vec<u8> {
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

    pub(super) fn fragment(&mut self) -> Vec<u8> {
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

    pub(super) fn bad_arp(&mut self) -> Vec<u8> {
        let (dom0_mac, guest) = (self.target.link.from, self.target.guest);
        // Only addresses of others: the neighbour's own binding stays as it is.
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

    pub(super) fn ipv6_junk(&mut self) -> Vec<u8> {
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
}
