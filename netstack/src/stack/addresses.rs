//! The interface's addresses, routes and DNS servers, from the command line or from DHCP.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

use super::Stack;

/// An IPv4 or IPv6 address of the interface with what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addressing {
    /// IPv4 address and prefix length in bits.
    pub(crate) ipv4: Option<(Ipv4Addr, u8)>,
    /// IPv4 default gateway.
    pub(crate) gateway4: Option<Ipv4Addr>,
    /// IPv6 address and prefix length in bits, beside the link-local one.
    pub(crate) ipv6: Option<(Ipv6Addr, u8)>,
    /// IPv6 default gateway.
    pub(crate) gateway6: Option<Ipv6Addr>,
}

impl Stack {
    /// Sets the interface's addresses and routes to `addressing` and the link-local address of
    /// its MAC. Connections bound to an address that is gone end with `AddressLost`.
    pub(crate) fn set_addresses(&mut self, addressing: &Addressing) {
        let link_local = Ipv6Cidr::new(link_local(self.mac), 64);
        let ipv4 = addressing
            .ipv4
            .filter(|(address, prefix)| is_host(*address) && *prefix <= 32)
            .map(|(address, prefix)| IpCidr::Ipv4(Ipv4Cidr::new(address, prefix)));
        let ipv6 = addressing
            .ipv6
            .filter(|(address, prefix)| {
                !address.is_multicast() && !address.is_unspecified() && *prefix <= 128
            })
            .map(|(address, prefix)| IpCidr::Ipv6(Ipv6Cidr::new(address, prefix)));
        self.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            // At most three, and the interface holds four (its feature in Cargo.toml).
            addresses.extend(
                [ipv4, ipv6, Some(IpCidr::Ipv6(link_local))]
                    .into_iter()
                    .flatten(),
            );
        });
        self.announcer.restart();
        let routes = self.iface.routes_mut();
        routes.remove_default_ipv4_route();
        routes.remove_default_ipv6_route();
        let mut full = false;
        if let Some(gateway) = addressing.gateway4.filter(|address| is_host(*address)) {
            full |= routes.add_default_ipv4_route(gateway).is_err();
        }
        if let Some(gateway) = addressing.gateway6 {
            full |= routes.add_default_ipv6_route(gateway).is_err();
        }
        if full {
            log::error!("net: the routing table is full");
        }
    }

    /// The interface's addresses and prefix lengths in bits, the link-local one last.
    pub(crate) fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.iface
            .ip_addrs()
            .iter()
            .map(|cidr| (cidr.address().into(), cidr.prefix_len()))
            .collect()
    }

    /// Whether `address` is one of the interface's.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.iface.has_ip_addr(IpAddress::from(address))
    }

    /// The interface's MAC address.
    pub(crate) fn mac(&self) -> EthernetAddress {
        self.mac
    }
}

/// Whether `address` can be that of one host.
pub(crate) fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
}

/// The link-local address with the modified EUI-64 of `mac` (RFC 4291 appendix A).
fn link_local(mac: EthernetAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 0x02,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_follows_rfc_4291() {
        let mac = EthernetAddress([0x00, 0x16, 0x3e, 0x12, 0x34, 0x56]);
        assert_eq!(
            link_local(mac),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0216, 0x3eff, 0xfe12, 0x3456)
        );
    }
}
