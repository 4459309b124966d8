//! The interface's addresses, routes and DNS servers, whether from the command line, from DHCP or
//! from router advertisements, and what it takes over from its device.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};
use vmc::Platform;

use super::ethernet::Card;
use super::{Shared, Stack, interface};
use crate::addressing::{Addressing, is_host, link_local};
use crate::announce::solicit_routers;
use crate::autoconf::Autoconf;
use crate::dhcp::Dhcp;

/// The time away after which no neighbour's hardware address is believed. smoltcp keeps one for a
/// minute of its own clock (`Cache::ENTRY_LIFETIME`); a live migration takes less than this.
const NEIGHBOURS_LAST: Duration = Duration::from_secs(10);

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

    /// Takes IPv6 addresses and a default router from router advertisements.
    pub(crate) fn start_autoconf(&self) {
        self.with(|stack| {
            stack.autoconf = Some(Autoconf::new());
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
    /// Counts wall-clock time that passed in suspends, of which `away` is the sum since boot: the
    /// clock that polls the stack stood still meanwhile, but leases and lifetimes ran on, and
    /// neighbours may be others. What has ended is gone before anything else happens.
    pub(crate) fn time_passed(&mut self, away: Duration, now: Instant) {
        let passed = away.saturating_sub(self.away);
        self.away = away;
        if passed.is_zero() {
            return;
        }
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.time_passed(self.control.sockets(), passed, now);
            self.control.wake();
        }
        if let Some(autoconf) = &mut self.autoconf {
            autoconf.time_passed(passed);
        }
        if passed >= NEIGHBOURS_LAST {
            self.ethernet.doubt();
        }
        self.apply_leases(now);
    }

    /// Applies what the DHCP client and autoconfiguration have learned or lost since the last
    /// call.
    pub(super) fn apply_leases(&mut self, now: Instant) {
        if let Some(dhcp) = &mut self.dhcp
            && let Some(change) = dhcp.poll(self.control.sockets(), now)
        {
            self.set_addresses(&change.addressing);
            self.resolver.set_leased(&change.servers);
        }
        if let Some(autoconf) = &mut self.autoconf
            && autoconf.expire(now)
        {
            self.apply_advertised();
        }
    }

    /// Takes the router advertisement that came with the latest frame, if it was one.
    pub(super) fn hear_advertisement(&mut self, now: Instant) {
        if let Some(frame) = self.control.inbox.take_advertisement()
            && let Some(autoconf) = &mut self.autoconf
            && autoconf.hear(&frame, now)
        {
            self.apply_advertised();
        }
    }

    /// Applies what router advertisements have changed, and says which addresses that are.
    fn apply_advertised(&mut self) {
        let before = self.iface.ip_addrs().to_vec();
        self.apply_addresses();
        let after = self.iface.ip_addrs();
        for address in after.iter().filter(|address| !before.contains(address)) {
            log::info!("net: up {address}, as routers advertise");
        }
        for address in before.iter().filter(|address| !after.contains(address)) {
            log::info!("net: {address} has run out: no router advertises it");
        }
    }

    /// Sends a router solicitation if one is due.
    pub(super) fn solicit(&mut self, device: &mut impl Card, now: Instant) {
        let source = link_local(self.mac);
        if let Some(autoconf) = &mut self.autoconf
            && autoconf.is_due(now)
            && solicit_routers(device, now, self.mac, source)
        {
            autoconf.solicited(now);
        }
    }

    /// Gives the interface the addresses and routes of `addressing`, beside those that do not
    /// depend on it. Connections bound to an address that is gone end with `AddressLost`.
    pub(crate) fn set_addresses(&mut self, addressing: &Addressing) {
        self.addressing = addressing.clone();
        self.apply_addresses();
    }

    /// Gives the interface all its addresses: those of the command line or the lease, those of
    /// router advertisements, and the link-local address of its MAC.
    fn apply_addresses(&mut self) {
        let ipv4 = self
            .addressing
            .ipv4
            .filter(|(address, prefix)| is_host(*address) && *prefix <= 32)
            .map(|(address, prefix)| IpCidr::Ipv4(Ipv4Cidr::new(address, prefix)));
        let ipv6 = self
            .addressing
            .ipv6
            .filter(|(address, prefix)| {
                !address.is_multicast() && !address.is_unspecified() && *prefix <= 128
            })
            .map(|(address, prefix)| IpCidr::Ipv6(Ipv6Cidr::new(address, prefix)));
        let mac = self.mac;
        let learned = self
            .autoconf
            .iter()
            .flat_map(|learned| learned.addresses(mac));
        let learned = learned.map(|address| IpCidr::Ipv6(Ipv6Cidr::new(address, 64)));
        let link_local = IpCidr::Ipv6(Ipv6Cidr::new(link_local(mac), 64));
        self.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            // At most five; the interface holds six (smoltcp's feature in Cargo.toml).
            let all = ipv4.into_iter().chain(ipv6).chain(learned);
            addresses.extend(all.chain([link_local]).take(addresses.capacity()));
        });
        self.announcer.restart();
        let routes = self.iface.routes_mut();
        routes.remove_default_ipv4_route();
        routes.remove_default_ipv6_route();
        let mut full = false;
        let gateway4 = self.addressing.gateway4.filter(|address| is_host(*address));
        if let Some(gateway) = gateway4 {
            full |= routes.add_default_ipv4_route(gateway).is_err();
        }
        let router = self.autoconf.as_ref().and_then(Autoconf::router);
        if let Some(gateway) = self.addressing.gateway6.or(router) {
            full |= routes.add_default_ipv6_route(gateway).is_err();
        }
        if full {
            log::error!("net: the routing table is full");
        }
        self.spread_addresses();
    }

    /// Tells everybody else the addresses and routes of the interface.
    fn spread_addresses(&mut self) {
        self.ethernet.set_addresses(&self.iface);
        self.control.set_addresses(&self.iface);
        self.tell_channel();
    }

    /// Gives the interface another address, as a router advertisement does.
    #[cfg(test)]
    pub(crate) fn add_address(&mut self, address: IpCidr) {
        let mut is_added = false;
        self.iface
            .update_ip_addrs(|all| is_added = all.push(address).is_ok());
        assert!(is_added, "there is room for {address}");
        self.spread_addresses();
        self.kick();
    }

    /// Takes over a device that is connected: what it can do, and the hardware address `mac`.
    /// smoltcp reads both once for each interface, so the interface is made anew if they have
    /// changed. Sockets do not notice.
    pub(crate) fn take_device(
        &mut self,
        device: &mut impl Card,
        mac: EthernetAddress,
        now: Instant,
    ) {
        let ip_mtu = device.capabilities().ip_mtu();
        if (mac, ip_mtu) == (self.mac, self.ip_mtu) {
            return;
        }
        log::info!("net: hardware address {mac}, MTU {ip_mtu}");
        self.seed = self.seed.wrapping_add(1);
        self.iface = interface::<P>(device, mac, self.seed, now);
        self.control.take_device(device, mac, self.seed, now);
        self.ethernet.set_mac(mac);
        (self.mac, self.ip_mtu) = (mac, ip_mtu);
        self.apply_addresses();
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
