//! DHCPv4 (RFC 2131): smoltcp's client, and what it learns.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::DhcpOption;

use crate::addressing::Addressing;

/// Option "Host Name" (RFC 2132 section 3.14).
const OPTION_HOST_NAME: u8 = 12;
/// How often a DISCOVER is repeated; with smoltcp's 10 s, three would use up the time that the boot waits.
const DISCOVER_INTERVAL: Duration = Duration::from_secs(3);

/// The DHCP client: smoltcp's socket, and whether there is a lease.
pub(crate) struct Dhcp {
    handle: SocketHandle,
    /// What the command line set; a lease adds its IPv4 part to it.
    fixed: Addressing,
    is_leased: bool,
    waiter: Option<Waker>,
}

/// What the interface has to take over from the DHCP client.
pub(crate) enum LeaseChange {
    /// There is a lease, the first one or a changed one.
    Leased {
        /// Everything that the interface is to have now.
        addressing: Addressing,
        /// The lease's DNS servers.
        servers: Vec<Ipv4Addr>,
    },
    /// The lease ran out, or the server withdrew it.
    Lost {
        /// Everything that the interface is to have now.
        addressing: Addressing,
    },
}

impl Dhcp {
    /// Adds the client's socket to `sockets`. `fixed` holds what stays as it is (IPv6);
    /// `hostname` is sent to the server.
    pub(crate) fn new(
        sockets: &mut SocketSet<'static>,
        fixed: Addressing,
        hostname: Option<String>,
    ) -> Self {
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
        Self {
            handle: sockets.add(socket),
            fixed,
            is_leased: false,
            waiter: None,
        }
    }

    /// Completes once there is a lease.
    pub(crate) fn poll_leased(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_leased {
            return Poll::Ready(());
        }
        self.waiter = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns what the client has learned or lost since the last call.
    pub(crate) fn poll(&mut self, sockets: &mut SocketSet<'static>) -> Option<LeaseChange> {
        let socket = sockets.get_mut::<dhcpv4::Socket<'_>>(self.handle);
        match socket.poll()? {
            dhcpv4::Event::Configured(lease) => {
                let address = (lease.address.address(), lease.address.prefix_len());
                let addressing = Addressing {
                    ipv4: Some(address),
                    gateway4: lease.router,
                    ..self.fixed.clone()
                };
                let servers = lease.dns_servers.iter().copied().collect();
                self.is_leased = true;
                if let Some(waiter) = self.waiter.take() {
                    waiter.wake();
                }
                log::info!("net: leased {}/{}", address.0, address.1);
                Some(LeaseChange::Leased {
                    addressing,
                    servers,
                })
            }
            // smoltcp reports this once at the start as well.
            dhcpv4::Event::Deconfigured if !self.is_leased => None,
            dhcpv4::Event::Deconfigured => {
                self.is_leased = false;
                log::warn!("net: the DHCP lease is lost");
                Some(LeaseChange::Lost {
                    addressing: self.fixed.clone(),
                })
            }
        }
    }
}
