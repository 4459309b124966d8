//! The interface's addresses, routes and DNS servers, whether from the command line or from DHCP.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::{Context, Poll};

use smoltcp::wire::{IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};
use vmc::Platform;

use super::{Shared, Stack};
use crate::addressing::{Addressing, is_host, link_local};
use crate::dhcp::{Dhcp, LeaseChange};

impl<P: Platform> Shared<P> {
    /// Starts the DHCP client. `fixed` holds what stays as it is (IPv6); `hostname` is sent to
    /// the server.
    pub(crate) fn start_dhcp(&self, fixed: Addressing, hostname: Option<String>) {
        self.with(|stack| {
            stack.set_addresses(&fixed);
            stack.dhcp = Some(Dhcp::new(stack.control.sockets(), fixed, hostname));
            stack.control.start_dhcp();
            stack.kick();
        });
    }

    /// Completes once a lease has been applied.
    pub(crate) fn poll_lease(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|stack| match &mut stack.dhcp {
            Some(dhcp) => dhcp.poll_leased(cx),
            None => Poll::Ready(()),
        })
    }
}

impl<P: Platform> Stack<P> {
    /// Applies what the DHCP client has learned or lost since the last call.
    pub(super) fn apply_lease(&mut self) {
        let Some(dhcp) = &mut self.dhcp else { return };
        match dhcp.poll(self.control.sockets()) {
            None => {}
            Some(LeaseChange::Leased {
                addressing,
                servers,
            }) => {
                self.set_addresses(&addressing);
                self.resolver.set_leased(&servers);
            }
            Some(LeaseChange::Lost { addressing }) => {
                self.set_addresses(&addressing);
                self.resolver.set_leased(&[]);
            }
        }
    }

    /// Gives the interface the addresses and routes of `addressing`, and the link-local address of
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
            // At most three; the interface holds four (smoltcp's feature in Cargo.toml).
            addresses.extend(
                [ipv4, ipv6, Some(IpCidr::Ipv6(link_local))]
                    .into_iter()
                    .flatten(),
            );
        });
        self.tell_channel();
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
        self.ethernet.set_addresses(&self.iface);
        self.control.set_addresses(&self.iface);
    }

    /// Returns the interface's addresses and prefix lengths in bits, the link-local one last.
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
}
