//! Two guests of one host with a router between them: each sees the router's hardware address where
//! the other one is.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet,
};

use super::meeting::{datagrams, link, meet};
use super::statistics;
use crate::addressing::Addressing;
use crate::tests::world::{World, mac};

/// The router's hardware addresses, one on the side of each host.
const MACS: [EthernetAddress; 2] = [
    EthernetAddress([2, 0, 0, 0, 0, 1]),
    EthernetAddress([2, 0, 0, 0, 0, 2]),
];

/// Gives host A an address in the network `a`, host B one in `b`, and both a gateway; with a
/// `prefix` that spans both networks they need none. Returns the addresses.
pub(super) fn subnets(world: &World, a: [u8; 3], b: [u8; 3], prefix: u8) -> [IpAddr; 2] {
    let mut addresses = [a, b].into_iter().zip([1, 2]).map(|([x, y, z], last)| {
        let host = &world.hosts[last as usize - 1].shared;
        let address = Ipv4Addr::new(x, y, z, last);
        host.with(|stack| {
            stack.set_addresses(&Addressing {
                ipv4: Some((address, prefix)),
                gateway4: (prefix == 24).then_some(Ipv4Addr::new(x, y, z, 254)),
                ..Addressing::default()
            });
        });
        IpAddr::V4(address)
    });
    [(); 2].map(|()| addresses.next().unwrap())
}

/// A router between host 0 and host 1, which answers for every address but those of the host that
/// asks (as with proxy ARP).
pub(super) struct Router {
    addresses: [IpAddr; 2],
}

impl Router {
    pub(super) fn new(addresses: &[IpAddr; 2]) -> Self {
        Self {
            addresses: *addresses,
        }
    }

    /// Returns what becomes of a frame that host `from` sends.
    pub(super) fn carry(&self, from: usize, mut frame: Vec<u8>) -> Vec<(usize, Vec<u8>)> {
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
        match ethernet.ethertype() {
            EthernetProtocol::Arp => {
                let packet = ArpPacket::new_unchecked(ethernet.payload_mut());
                let Ok(ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Request,
                    source_hardware_addr,
                    source_protocol_addr,
                    target_protocol_addr,
                    ..
                }) = ArpRepr::parse(&packet)
                else {
                    return Vec::new();
                };
                let is_own = IpAddr::V4(target_protocol_addr) == self.addresses[from];
                // On its own network a host that is not there does not answer.
                if is_own || self.is_silent(from, target_protocol_addr) {
                    return Vec::new();
                }
                let answer = ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Reply,
                    source_hardware_addr: MACS[from],
                    source_protocol_addr: target_protocol_addr,
                    target_hardware_addr: source_hardware_addr,
                    target_protocol_addr: source_protocol_addr,
                };
                let mut packet = ArpPacket::new_unchecked(ethernet.payload_mut());
                answer.emit(&mut packet);
                ethernet.set_src_addr(MACS[from]);
                ethernet.set_dst_addr(source_hardware_addr);
                vec![(from, frame)]
            }
            EthernetProtocol::Ipv4 if ethernet.dst_addr() == MACS[from] => {
                let to = 1 - from;
                ethernet.set_src_addr(MACS[to]);
                ethernet.set_dst_addr(mac(to));
                let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
                let left = packet.hop_limit() - 1;
                packet.set_hop_limit(left);
                packet.fill_checksum();
                vec![(to, frame)]
            }
            _ => Vec::new(),
        }
    }

    /// Whether `address` would be a host on the same wire as host `from`, and is none.
    fn is_silent(&self, from: usize, address: Ipv4Addr) -> bool {
        let IpAddr::V4(own) = self.addresses[from] else {
            return false;
        };
        own.octets()[..3] == address.octets()[..3] && address.octets()[3] != 254
    }
}

/// By gateways, and by proxy ARP on what looks like one network.
#[test]
fn guests_behind_a_router_share_memory_again_and_again() {
    for prefix in [24, 16] {
        for first in 0..2 {
            let mut world = World::new(190 + first as u64);
            let addresses = subnets(&world, [10, 1, 1], [10, 1, 2], prefix);
            world.share_memory_with(190, "vmc=advance");
            let router = Router::new(&addresses);
            world.carrier = Some(Box::new(move |from, frame| router.carry(from, frame)));
            let to = 1 - first;
            let mut stays = meet(&mut world, first, to, SocketAddr::new(addresses[to], 7));
            assert!(stays.is_on_rings());
            let before = world.carried;
            for round in 0..6_u16 {
                for to in [1, 0] {
                    let at = SocketAddr::new(addresses[to], 8 + round);
                    let mut met = meet(&mut world, 1 - to, to, at);
                    assert!(met.is_on_rings());
                    met.talk(&mut world, 50_000);
                    met.end(&mut world);
                    datagrams(&mut world, 1 - to, to, at);
                }
                stays.talk(&mut world, 50_000);
                world.pass(Duration::from_secs(60));
            }
            // The link has carried all of it but requests for the router's hardware address.
            let carried = world.carried - before;
            assert!(carried < 30, "{carried} frames");
            for guest in [world.a(), world.b()] {
                let counted = statistics(&guest);
                assert_eq!((counted.links, counted.failed), (1, 0));
                assert!(link(&guest).frames_received > 24);
            }
            stays.end(&mut world);
        }
    }
}
