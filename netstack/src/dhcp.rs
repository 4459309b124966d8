//! DHCPv4 (RFC 2131): smoltcp's client, and what it learns.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpRepr};

use crate::addressing::Addressing;

/// Option "Host Name" (RFC 2132 section 3.14).
const OPTION_HOST_NAME: u8 = 12;
/// How often a DISCOVER is repeated at first, and at most once nobody has answered for long. smoltcp
/// itself repeats at one pace.
const DISCOVER_FIRST: Duration = Duration::from_secs(3);
const DISCOVER_LONGEST: Duration = Duration::from_secs(48);
/// The lease time if an acknowledgement names none, as smoltcp assumes.
const DEFAULT_LEASE: Duration = Duration::from_secs(120);
/// How much time may pass unseen by smoltcp before the lease is confirmed anew.
const UNSEEN: Duration = Duration::from_secs(1);
/// Bytes of the longest acknowledgement from which the lease time is learned.
const PACKET: usize = 1500;

/// The DHCP client: smoltcp's socket, and the lease.
///
/// smoltcp counts the lease's times by a clock that stands still while the guest is suspended, and
/// cannot be told otherwise. So the end of the lease is kept here too, and after a suspend, or when
/// the network is another one, the socket begins anew while the address stays in use until that
/// end, or until a server gives another one (RFC 2131 sections 3.7 and 4.4.5).
pub(crate) struct Dhcp {
    handle: SocketHandle,
    /// What the command line set; a lease adds its IPv4 part to it.
    fixed: Addressing,
    lease: Option<Lease>,
    /// Whether smoltcp's socket has begun anew although there is a lease.
    is_confirming: bool,
    /// Since when a server has been looked for.
    since: Option<Instant>,
    waiter: Option<Waker>,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    addressing: Addressing,
    servers: Vec<Ipv4Addr>,
    ends: Instant,
    /// Time since the lease that smoltcp does not know of.
    unseen: Duration,
}

/// What the interface has to take over from the DHCP client.
pub(crate) struct LeaseChange {
    /// Everything that the interface is to have.
    pub(crate) addressing: Addressing,
    /// The lease's DNS servers.
    pub(crate) servers: Vec<Ipv4Addr>,
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
        retry.discover_timeout = DISCOVER_FIRST.into();
        retry.initial_request_timeout = DISCOVER_FIRST.into();
        socket.set_retry_config(retry);
        // The socket borrows its buffer and its options, and lives as long as the guest.
        socket.set_receive_packet_buffer(vec![0; PACKET].leak());
        if let Some(hostname) = hostname {
            let data: &'static [u8] = hostname.leak().as_bytes();
            socket.set_outgoing_options(Box::leak(Box::new([DhcpOption {
                kind: OPTION_HOST_NAME,
                data,
            }])));
        }
        Self {
            handle: sockets.add(socket),
            fixed,
            lease: None,
            is_confirming: false,
            since: None,
            waiter: None,
        }
    }

    /// Completes once there is a lease.
    pub(crate) fn poll_leased(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lease.is_some() {
            return Poll::Ready(());
        }
        self.waiter = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns a word for the client's state.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.lease, self.is_confirming) {
            (None, _) => "no lease",
            (Some(_), false) => "leased",
            (Some(_), true) => "leased, to be confirmed",
        }
    }

    /// Looks for a server anew and keeps the lease until its end: the network may be another one.
    pub(crate) fn confirm(&mut self, sockets: &mut SocketSet<'static>) {
        sockets.get_mut::<dhcpv4::Socket<'_>>(self.handle).reset();
        self.is_confirming = self.lease.is_some();
        self.since = None;
    }

    /// Counts time that passed while the clock, which says `now`, stood still.
    pub(crate) fn time_passed(
        &mut self,
        sockets: &mut SocketSet<'static>,
        time: Duration,
        now: Instant,
    ) {
        let Some(lease) = &mut self.lease else { return };
        lease.ends -= time.into();
        lease.unseen += time;
        if lease.unseen >= UNSEEN || lease.ends <= now {
            self.confirm(sockets);
        }
    }

    /// Returns the time at which [`Self::poll`] has to be called because the lease ends. While
    /// smoltcp knows the lease, it has a timer of its own.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let lease = self.lease.as_ref().filter(|_| self.is_confirming)?;
        Some(lease.ends)
    }

    /// Returns what the client has learned or lost since the last call.
    pub(crate) fn poll(
        &mut self,
        sockets: &mut SocketSet<'static>,
        now: Instant,
    ) -> Option<LeaseChange> {
        let socket = sockets.get_mut::<dhcpv4::Socket<'_>>(self.handle);
        if self.lease.is_none() || self.is_confirming {
            let waited = Duration::from(now - *self.since.get_or_insert(now));
            let mut retry = socket.get_retry_config();
            let pause = (waited / 2).clamp(DISCOVER_FIRST, DISCOVER_LONGEST);
            retry.discover_timeout = pause.into();
            socket.set_retry_config(retry);
        }
        match socket.poll() {
            Some(dhcpv4::Event::Configured(config)) => {
                let lease = Lease {
                    addressing: Addressing {
                        ipv4: Some((config.address.address(), config.address.prefix_len())),
                        gateway4: config.router,
                        ..self.fixed.clone()
                    },
                    servers: config.dns_servers.iter().copied().collect(),
                    ends: now + lease_time(&config).unwrap_or(DEFAULT_LEASE).into(),
                    unseen: Duration::ZERO,
                };
                self.since = None;
                self.is_confirming = false;
                self.take(lease)
            }
            // The socket was told to begin anew.
            Some(dhcpv4::Event::Deconfigured) if self.is_confirming => self.lose_if_over(now),
            Some(dhcpv4::Event::Deconfigured) => self.lose(),
            None if self.is_confirming => self.lose_if_over(now),
            None => None,
        }
    }

    /// Takes a lease over; returns what the interface has to change.
    fn take(&mut self, lease: Lease) -> Option<LeaseChange> {
        let former = self.lease.replace(lease);
        let lease = self.lease.as_ref()?;
        let is_same = former.is_some_and(|former| {
            (former.addressing, former.servers) == (lease.addressing.clone(), lease.servers.clone())
        });
        if is_same {
            return None;
        }
        if let Some((address, prefix)) = lease.addressing.ipv4 {
            log::info!("net: leased {address}/{prefix}");
        }
        let change = LeaseChange {
            addressing: lease.addressing.clone(),
            servers: lease.servers.clone(),
        };
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
        Some(change)
    }

    /// Ends the lease if its time is over.
    fn lose_if_over(&mut self, now: Instant) -> Option<LeaseChange> {
        let is_over = self.lease.as_ref().is_some_and(|lease| lease.ends <= now);
        if is_over { self.lose() } else { None }
    }

    /// Ends the lease, if there is one: it ran out, or the server withdrew it.
    fn lose(&mut self) -> Option<LeaseChange> {
        // smoltcp reports a loss once at the start as well.
        self.lease.take()?;
        self.is_confirming = false;
        log::warn!("net: the DHCP lease is lost");
        Some(LeaseChange {
            addressing: self.fixed.clone(),
            servers: Vec::new(),
        })
    }
}

/// Returns the lease time of the acknowledgement that made `config`.
fn lease_time(config: &dhcpv4::Config<'_>) -> Option<Duration> {
    let packet = config.packet?;
    let acknowledgement = DhcpRepr::parse(&packet).ok()?;
    // A packet that was too long for the buffer has left an earlier one there.
    (acknowledgement.message_type == DhcpMessageType::Ack
        && acknowledgement.your_ip == config.address.address())
    .then_some(acknowledgement.lease_duration)?
    .map(|seconds| Duration::from_secs(u64::from(seconds)))
}
