//! Where a packet goes next (RFC 1122 section 3.3.1.1, RFC 4861 section 5.2).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::iface::Interface;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpCidr, Ipv4Packet, Ipv6Packet,
};

use crate::packet::ETHERNET;

/// Addresses of an interface at most.
const ADDRESSES: usize = smoltcp::config::IFACE_MAX_ADDR_COUNT;

/// The next hop of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// All hosts of a broadcast or multicast group.
    Group(EthernetAddress),
    /// This neighbour: the destination, or a router.
    Neighbour(IpAddr),
    /// There is no route, or it leads to this guest itself.
    Nowhere,
}

/// The networks that the interface is on, and the way to all others.
#[derive(Default)]
pub(super) struct Networks {
    own: heapless::Vec<IpCidr, ADDRESSES>,
    gateway4: Option<IpAddr>,
    gateway6: Option<IpAddr>,
}

impl Networks {
    /// Takes over the addresses and default routes of `iface`.
    pub(super) fn set(&mut self, iface: &Interface) {
        self.own.clear();
        self.own.extend(iface.ip_addrs().iter().copied());
        let routes = iface.routes();
        let via = |route: smoltcp::iface::Route| route.via_router.into();
        self.gateway4 = routes.get_default_ipv4_route().map(via);
        self.gateway6 = routes.get_default_ipv6_route().map(via);
    }

    /// Whether `address` is one of the interface's.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.own
            .iter()
            .any(|cidr| IpAddr::from(cidr.address()) == address)
    }

    /// Whether `address` can be a neighbour's: it belongs to a network that the interface is on, or
    /// to a router, which need not.
    pub(super) fn is_neighbour(&self, address: IpAddr) -> bool {
        let is_router = [self.gateway4, self.gateway6].contains(&Some(address));
        (is_router || self.is_near(address)) && !self.is_own(address)
    }

    fn is_near(&self, address: IpAddr) -> bool {
        let address = address.into();
        self.own.iter().any(|cidr| cidr.contains_addr(&address))
    }

    /// Returns the next hop of a packet to `destination`.
    pub(super) fn hop(&self, destination: IpAddr) -> Hop {
        if let Some(mac) = self.group(destination) {
            return Hop::Group(mac);
        }
        if destination.is_unspecified() || self.is_own(destination) {
            return Hop::Nowhere;
        }
        if self.is_near(destination) {
            return Hop::Neighbour(destination);
        }
        let gateway = match destination {
            IpAddr::V4(_) => self.gateway4,
            // Not beyond the link (RFC 4291 section 2.5.6).
            IpAddr::V6(ipv6) if ipv6.is_unicast_link_local() => None,
            IpAddr::V6(_) => self.gateway6,
        };
        match gateway {
            Some(gateway) if !self.is_own(gateway) => Hop::Neighbour(gateway),
            _ => Hop::Nowhere,
        }
    }

    /// Returns the MAC address of a broadcast or multicast group (RFC 1112 section 6.4, RFC 2464
    /// section 7); `None` for the address of a single host.
    fn group(&self, destination: IpAddr) -> Option<EthernetAddress> {
        match destination {
            IpAddr::V4(ipv4) if ipv4.is_broadcast() || self.is_broadcast(ipv4) => {
                Some(EthernetAddress::BROADCAST)
            }
            IpAddr::V4(ipv4) if ipv4.is_multicast() => {
                let [_, b, c, d] = ipv4.octets();
                Some(EthernetAddress([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
            }
            IpAddr::V6(ipv6) if ipv6.is_multicast() => Some(multicast(ipv6)),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.own.iter().any(|cidr| match cidr {
            IpCidr::Ipv4(cidr) => cidr.broadcast() == Some(address),
            IpCidr::Ipv6(_) => false,
        })
    }

    /// Returns the own address from which to ask for `neighbour`.
    pub(super) fn source(&self, neighbour: IpAddr) -> Option<IpAddr> {
        let mut others = self.own.iter().filter(|cidr| {
            matches!(
                (cidr, neighbour),
                (IpCidr::Ipv4(_), IpAddr::V4(_)) | (IpCidr::Ipv6(_), IpAddr::V6(_))
            )
        });
        let near = self
            .own
            .iter()
            .find(|cidr| cidr.contains_addr(&neighbour.into()));
        near.or_else(|| others.next())
            .map(|cidr| cidr.address().into())
    }
}

/// Returns the MAC address of an IPv6 multicast group.
pub(super) fn multicast(group: Ipv6Addr) -> EthernetAddress {
    let [.., a, b, c, d] = group.octets();
    EthernetAddress([0x33, 0x33, a, b, c, d])
}

/// Returns where the IP packet in a frame goes; `None` if the frame is too short or carries
/// something else.
pub(super) fn destination(frame: &[u8]) -> Option<IpAddr> {
    // Only the lengths of what is read are checked: smoltcp has made the rest.
    let packet = frame.get(ETHERNET..)?;
    match EthernetFrame::new_unchecked(frame).ethertype() {
        EthernetProtocol::Ipv4 if packet.len() >= 20 => {
            Some(IpAddr::V4(Ipv4Packet::new_unchecked(packet).dst_addr()))
        }
        EthernetProtocol::Ipv6 if packet.len() >= 40 => {
            Some(IpAddr::V6(Ipv6Packet::new_unchecked(packet).dst_addr()))
        }
        _ => None,
    }
}
