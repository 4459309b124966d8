//! DHCPv4 (RFC 2131): smoltcp's client, and what it learns applied to the interface.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::dhcpv4;
use smoltcp::wire::DhcpOption;

use crate::stack::{Addressing, Shared, Stack};

/// Option "Host Name" (RFC 2132 section 3.14).
const OPTION_HOST_NAME: u8 = 12;
/// How often a DISCOVER is repeated; smoltcp's 10 s would use up the boot's patience in three.
const DISCOVER_INTERVAL: Duration = Duration::from_secs(3);

/// The DHCP client's state beside smoltcp's socket.
pub(crate) struct Dhcp {
    handle: SocketHandle,
    /// What the command line set, which a lease adds its IPv4 part to.
    fixed: Addressing,
    configured: bool,
    waiter: Option<Waker>,
}

impl Shared {
    /// Starts the DHCP client. `fixed` holds what stays as it is (IPv6); `hostname` is sent to
    /// the server.
    pub(crate) fn start_dhcp(&self, fixed: Addressing, hostname: Option<String>) {
        self.with(|stack| {
            let mut socket = dhcpv4::Socket::new();
            let mut retry = socket.get_retry_config();
            retry.discover_timeout = DISCOVER_INTERVAL.into();
            retry.initial_request_timeout = DISCOVER_INTERVAL.into();
            socket.set_retry_config(retry);
            if let Some(hostname) = hostname {
                // The socket borrows its options, and lives as long as the guest.
                let data: &'static [u8] = hostname.leak().as_bytes();
                socket.set_outgoing_options(Box::leak(Box::new([DhcpOption {
                    kind: OPTION_HOST_NAME,
                    data,
                }])));
            }
            let handle = stack.sockets.add(socket);
            stack.set_addresses(&fixed);
            stack.dhcp = Some(Dhcp {
                handle,
                fixed,
                configured: false,
                waiter: None,
            });
            stack.kick();
        });
    }

    /// Ready once a lease has been applied.
    pub(crate) fn poll_lease(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|stack| match &mut stack.dhcp {
            Some(dhcp) if !dhcp.configured => {
                dhcp.waiter = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
    }
}

impl Stack {
    /// Applies what the DHCP client has learned or lost since the last call.
    pub(crate) fn apply_lease(&mut self) {
        let Some(dhcp) = &mut self.dhcp else { return };
        let socket = self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp.handle);
        match socket.poll() {
            None => {}
            Some(dhcpv4::Event::Configured(lease)) => {
                let address = (lease.address.address(), lease.address.prefix_len());
                let addressing = Addressing {
                    ipv4: Some(address),
                    gateway4: lease.router,
                    ..dhcp.fixed.clone()
                };
                let servers: Vec<Ipv4Addr> = lease.dns_servers.iter().copied().collect();
                dhcp.configured = true;
                if let Some(waiter) = dhcp.waiter.take() {
                    waiter.wake();
                }
                log::info!("net: leased {}/{}", address.0, address.1);
                self.set_addresses(&addressing);
                self.resolver.set_leased(&servers);
            }
            // smoltcp says so once at the start as well.
            Some(dhcpv4::Event::Deconfigured) if !dhcp.configured => {}
            Some(dhcpv4::Event::Deconfigured) => {
                dhcp.configured = false;
                let fixed = dhcp.fixed.clone();
                log::warn!("net: the DHCP lease is lost");
                self.set_addresses(&fixed);
                self.resolver.set_leased(&[]);
            }
        }
    }
}
