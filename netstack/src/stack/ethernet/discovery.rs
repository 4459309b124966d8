//! ARP (RFC 826) and neighbour discovery (RFC 4861 section 4) on the wire.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::{ChecksumCapabilities, TxToken};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress,
};

use super::neighbours::{Claim, Kind};
use super::networks::{Networks, multicast};

/// Hop limit of neighbour discovery: no router has passed it on (RFC 4861 section 7.1).
const HOP_LIMIT: u8 = 255;

/// Sends a request for the MAC address of `neighbour`, from `source`.
pub(super) fn request(
    token: impl TxToken,
    mac: EthernetAddress,
    source: IpAddr,
    neighbour: IpAddr,
) {
    match (source, neighbour) {
        (IpAddr::V4(source), IpAddr::V4(neighbour)) => arp(token, mac, source, neighbour),
        (IpAddr::V6(source), IpAddr::V6(neighbour)) => solicit(token, mac, source, neighbour),
        // The source is chosen by the neighbour's family.
        _ => debug_assert!(false, "{source} asks for {neighbour}"),
    }
}

fn arp(token: impl TxToken, mac: EthernetAddress, source: Ipv4Addr, neighbour: Ipv4Addr) {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: source,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: neighbour,
    };
    let len = EthernetFrame::<&[u8]>::buffer_len(arp.buffer_len());
    token.consume(len, |buf| {
        let mut frame = EthernetFrame::new_unchecked(buf);
        frame.set_src_addr(mac);
        frame.set_dst_addr(EthernetAddress::BROADCAST);
        frame.set_ethertype(EthernetProtocol::Arp);
        arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    });
}

fn solicit(token: impl TxToken, mac: EthernetAddress, source: Ipv6Addr, neighbour: Ipv6Addr) {
    let solicit = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: neighbour,
        lladdr: Some(mac.into()),
    });
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: solicited_node(neighbour),
        next_header: IpProtocol::Icmpv6,
        payload_len: solicit.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let len = EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len() + ip.payload_len);
    token.consume(len, |buf| {
        let mut frame = EthernetFrame::new_unchecked(buf);
        frame.set_src_addr(mac);
        frame.set_dst_addr(multicast(ip.dst_addr));
        frame.set_ethertype(EthernetProtocol::Ipv6);
        let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet);
        solicit.emit(
            &ip.src_addr,
            &ip.dst_addr,
            &mut Icmpv6Packet::new_unchecked(packet.payload_mut()),
            // Computed here, whatever the device offloads.
            &ChecksumCapabilities::default(),
        );
    });
}

/// Returns the group in which `address` is asked for (RFC 4291 section 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// What an ARP or neighbour discovery packet says.
#[derive(Default)]
pub(super) struct Heard {
    /// What it says about its sender.
    pub(super) claim: Option<Claim>,
    /// Whether it is meant for this guest: a request for one of its addresses, an answer to it, or
    /// a router's advertisement.
    pub(super) is_for_us: bool,
}

/// Reads an ARP packet.
pub(super) fn read_arp(packet: &[u8], networks: &Networks) -> Heard {
    let parsed = ArpPacket::new_checked(packet).and_then(|packet| ArpRepr::parse(&packet));
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: sender,
        target_protocol_addr: target,
        ..
    }) = parsed
    else {
        return Heard::default();
    };
    let is_for_us = networks.is_own(target.into());
    let kind = match operation {
        ArpOperation::Request if is_for_us => Kind::Request,
        ArpOperation::Reply if is_for_us => Kind::Answer { replaces: true },
        ArpOperation::Request | ArpOperation::Reply => Kind::Notice,
        ArpOperation::Unknown(_) => return Heard::default(),
    };
    Heard {
        claim: claim(sender.into(), mac, kind, networks),
        is_for_us,
    }
}

/// Reads the IPv6 packet of a frame, if it is one of neighbour discovery; `None` if it is not.
pub(super) fn read_discovery(packet: &[u8], networks: &Networks) -> Option<Heard> {
    let packet = Ipv6Packet::new_checked(packet).ok()?;
    // Router solicitation to redirect (RFC 4861 section 4).
    let is_discovery = packet.next_header() == IpProtocol::Icmpv6
        && matches!(packet.payload().first(), Some(133..=137));
    if !is_discovery {
        return None;
    }
    let heard = || {
        if packet.hop_limit() != HOP_LIMIT {
            return None;
        }
        let (from, to) = (packet.src_addr(), packet.dst_addr());
        let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
        let checksums = ChecksumCapabilities::default();
        let Icmpv6Repr::Ndisc(message) =
            Icmpv6Repr::parse(&from, &to, &message, &checksums).ok()?
        else {
            return None;
        };
        Some(match message {
            NdiscRepr::NeighborSolicit {
                target_addr,
                lladdr,
            } => {
                let is_for_us = networks.is_own(target_addr.into());
                let mac = lladdr.and_then(ethernet).filter(|_| is_for_us);
                Heard {
                    claim: mac.and_then(|mac| claim(from.into(), mac, Kind::Request, networks)),
                    is_for_us,
                }
            }
            NdiscRepr::NeighborAdvert {
                flags,
                target_addr,
                lladdr,
            } => {
                let replaces = flags.contains(NdiscNeighborFlags::OVERRIDE);
                let kind = if flags.contains(NdiscNeighborFlags::SOLICITED) && !to.is_multicast() {
                    Kind::Answer { replaces }
                } else if replaces {
                    Kind::Notice
                } else {
                    return None;
                };
                let mac = lladdr.and_then(ethernet);
                Heard {
                    claim: mac.and_then(|mac| claim(target_addr.into(), mac, kind, networks)),
                    is_for_us: false,
                }
            }
            NdiscRepr::RouterAdvert { .. } => Heard {
                claim: None,
                is_for_us: true,
            },
            NdiscRepr::RouterSolicit { .. } | NdiscRepr::Redirect { .. } => return None,
        })
    };
    Some(heard().unwrap_or_default())
}

fn ethernet(address: RawHardwareAddress) -> Option<EthernetAddress> {
    let address: [u8; 6] = address.as_bytes().try_into().ok()?;
    Some(EthernetAddress(address))
}

/// Returns what is said about `neighbour`, unless it cannot be true.
fn claim(
    neighbour: IpAddr,
    mac: EthernetAddress,
    kind: Kind,
    networks: &Networks,
) -> Option<Claim> {
    let is_host = networks.is_neighbour(neighbour);
    let is_card = mac.is_unicast() && mac.0 != [0; 6];
    (is_host && is_card).then_some(Claim {
        neighbour,
        mac,
        kind,
    })
}
