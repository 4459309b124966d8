//! Frames that tell the link where an address lives now: gratuitous ARP (RFC 5227 section 3) and
//! unsolicited neighbour advertisements (RFC 4861 section 7.2.6). They are needed after connecting
//! and, above all, after a migration: bridges and neighbours learn from them where the guest is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use smoltcp::phy::{ChecksumCapabilities, Device, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

/// All nodes on the link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet group of [`ALL_NODES`] (RFC 2464 section 7).
const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);

/// All routers on the link (RFC 4291 section 2.7.1), and their Ethernet group.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_ROUTERS_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 2]);

/// Announcements in a series: the first may find a bridge port that does not forward yet.
const REPEATS: u8 = 3;
/// Time between two announcements (`ANNOUNCE_INTERVAL` of RFC 5227 section 1.1 is 2 s).
const INTERVAL: Duration = Duration::from_secs(1);

/// When to announce the addresses.
#[derive(Default)]
pub(crate) struct Announcer {
    left: u8,
    next: Option<Instant>,
}

impl Announcer {
    /// Begins a series of announcements.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            left: REPEATS,
            next: None,
        };
    }

    /// Returns the time of the next announcement, unless the series is over or has not begun.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next.filter(|_| self.left > 0)
    }

    /// Whether to announce now; if so, counts it as done.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if self.left == 0 || self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.left -= 1;
        self.next = Some(now + INTERVAL.into());
        true
    }
}

/// Announces each of `addresses` once. Announcements that the device has no room for are left
/// out: the series repeats them.
pub(crate) fn announce<D: Device>(
    device: &mut D,
    now: Instant,
    mac: EthernetAddress,
    addresses: impl IntoIterator<Item = IpAddr>,
) {
    for address in addresses {
        let Some(token) = device.transmit(now) else {
            return;
        };
        match address {
            IpAddr::V4(ipv4) => gratuitous_arp(token, mac, ipv4),
            IpAddr::V6(ipv6) => unsolicited_advertisement(token, mac, ipv6),
        }
    }
}

/// Asks the routers of the link for an advertisement (RFC 4861 section 4.1), from `source`, the
/// interface's link-local address. Returns false if the device has no room.
pub(crate) fn solicit_routers<D: Device>(
    device: &mut D,
    now: Instant,
    mac: EthernetAddress,
    source: Ipv6Addr,
) -> bool {
    let Some(token) = device.transmit(now) else {
        return false;
    };
    let solicitation = Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit {
        lladdr: Some(mac.into()),
    });
    send_ndisc(
        token,
        mac,
        (source, ALL_ROUTERS, ALL_ROUTERS_MAC),
        &solicitation,
    );
    true
}

fn gratuitous_arp(token: impl TxToken, mac: EthernetAddress, address: Ipv4Addr) {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    token.consume(
        EthernetFrame::<&[u8]>::buffer_len(arp.buffer_len()),
        |buf| {
            let mut frame = EthernetFrame::new_unchecked(buf);
            frame.set_src_addr(mac);
            frame.set_dst_addr(EthernetAddress::BROADCAST);
            frame.set_ethertype(EthernetProtocol::Arp);
            arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        },
    );
}

fn unsolicited_advertisement(token: impl TxToken, mac: EthernetAddress, address: Ipv6Addr) {
    let advert = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::OVERRIDE,
        target_addr: address,
        lladdr: Some(mac.into()),
    });
    send_ndisc(token, mac, (address, ALL_NODES, ALL_NODES_MAC), &advert);
}

/// Sends a message of neighbour discovery from the first address to the second, whose hardware
/// address is the third.
fn send_ndisc(
    token: impl TxToken,
    mac: EthernetAddress,
    (source, destination, hardware): (Ipv6Addr, Ipv6Addr, EthernetAddress),
    message: &Icmpv6Repr<'_>,
) {
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: 255,
    };
    let len = EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len() + ip.payload_len);
    token.consume(len, |buf| {
        let mut frame = EthernetFrame::new_unchecked(buf);
        frame.set_src_addr(mac);
        frame.set_dst_addr(hardware);
        frame.set_ethertype(EthernetProtocol::Ipv6);
        let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet);
        message.emit(
            &ip.src_addr,
            &ip.dst_addr,
            &mut Icmpv6Packet::new_unchecked(packet.payload_mut()),
            // Computed here, whatever the device offloads.
            &ChecksumCapabilities::default(),
        );
    });
}
