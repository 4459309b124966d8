//! The network, as an appliance uses it. The task in `drive` drives the stack, the one in `attend`
//! keeps its device connected.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use embassy_futures::select::{Either, select};
use kernel::backoff::Backoff;
use kernel::grant::GrantedRegion;
use kernel::lifecycle;
use kernel::task::Role;
use kernel::xenstore::{StoreError, Xenstore};
use kernel::{PAGE_SIZE, mem, task, time};
use smoltcp::wire::EthernetAddress;
use vmc::{Platform, Uuid};

use crate::attend::{self, Attendant, Link, Part};
use crate::channel::{self, ChannelOptions, Started, Xen};
use crate::config::Config;
use crate::drive::drive;
use crate::error::{BindError, ConnectError, NetError, ResolveError};
use crate::netfront::{Attached, LinkStatistics, Netfront, XenVif};
use crate::options::{Limits, TcpOptions};
use crate::stack::Shared;
use crate::tcp::{TcpListener, TcpStream};
use crate::udp::UdpSocket;

/// How often the console says that no DHCP server has answered yet.
const LEASE_REMINDER: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(600));

/// The pauses between attempts to learn the guest's UUID.
const IDENTITY_RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(16));

/// The network of this guest: one interface, and sockets on it. A cheap handle.
#[derive(Clone)]
pub struct Network {
    shared: Shared,
    link: Rc<Link>,
}

/// What the network has counted since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The device.
    pub link: LinkStatistics,
    /// TCP connections accepted.
    pub accepted: u64,
    /// TCP connections opened.
    pub connected: u64,
    /// Times that a listener had no room, in its backlog or in memory, for another connection.
    pub backlog_full: u64,
    /// Closed connections reset because they did not finish within their linger time.
    pub linger_resets: u64,
    /// TCP sockets, listening and lingering ones included.
    pub sockets: usize,
    /// Bytes in the buffers of TCP sockets.
    pub socket_bytes: usize,
}

impl Network {
    /// Connects the first virtual interface and gives it its addresses. Completes when the
    /// interface can be used; with `ip=dhcp` that is after the lease. A device, a backend, a
    /// xenstore or a DHCP server that is late is waited for, which the console says.
    ///
    /// # Errors
    /// xenstore does not know the guest's UUID.
    pub async fn start(store: Xenstore, config: Config) -> Result<Self, NetError> {
        let free_pages = mem::frames::usage().free;
        // The device may take an eighth of the free memory, half of it for each direction.
        let device_pages = (free_pages / 16).clamp(32, 256);
        let link = Rc::new(Link::default());
        let mut vif = XenVif::new(store.clone(), device_pages);
        let Attached {
            connection,
            mac,
            ip_mtu,
        } = attend::connect(&mut vif, &link, false).await;
        let mut device = Netfront::new(connection, ip_mtu);
        let limits = config.limits.unwrap_or(Limits {
            tcp_bytes: free_pages * PAGE_SIZE / 2,
            ..Limits::default()
        });
        let shared = Shared::new(&mut device, mac, seed(mac), limits);
        shared.with(|stack| stack.resolver.set_configured(&config.dns));
        let driver = drive(shared.clone(), device, link.clone());
        task::spawn_as(Role::Lifecycle, driver).detach();
        let attendant = Attendant {
            shared: shared.clone(),
            link: link.clone(),
            vif,
        };
        lifecycle::register(Rc::new(Part {
            shared: shared.clone(),
            link: link.clone(),
        }));
        task::spawn_as(Role::Lifecycle, attendant.run()).detach();
        if config.channel.is_on() {
            start_channel(&shared, Uuid(identity(&store).await?), &config.channel);
        }
        if config.autoconf {
            shared.start_autoconf();
        }
        if config.dhcp {
            shared.start_dhcp(config.fixed, config.hostname);
            wait_for_lease(&shared, time::sleep).await;
        } else {
            shared.with(|stack| {
                stack.set_addresses(&config.fixed);
                stack.kick();
            });
        }
        let network = Self { shared, link };
        for (address, prefix) in network.addresses() {
            let link_local = matches!(address, IpAddr::V6(ipv6) if ipv6.is_unicast_link_local());
            if !link_local {
                log::info!("net: up {address}/{prefix}");
            }
        }
        Ok(network)
    }

    /// Listens on TCP port `port` of every address, with default options. At most `backlog`
    /// connections, handshakes included, wait to be accepted.
    ///
    /// # Errors
    /// The port is 0 or taken, or there is no memory for the buffers.
    pub fn listen(&self, port: u16, backlog: usize) -> Result<TcpListener, BindError> {
        self.listen_with(port, backlog, TcpOptions::default())
    }

    /// Listens as [`Self::listen`] does; `options` apply to every connection that is accepted.
    ///
    /// # Errors
    /// As [`Self::listen`].
    pub fn listen_with(
        &self,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<TcpListener, BindError> {
        self.shared.listen(port, backlog, options)
    }

    /// Opens a TCP connection with default options; the handshake may take `timeout`. Dropping the
    /// future gives up.
    ///
    /// # Errors
    /// Nobody listens, nobody answers, or there is no route or no memory.
    pub async fn connect(
        &self,
        peer: SocketAddr,
        timeout: Duration,
    ) -> Result<TcpStream, ConnectError> {
        self.connect_with(peer, timeout, TcpOptions::default())
            .await
    }

    /// Opens a TCP connection as [`Self::connect`] does, with `options`.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(
        &self,
        peer: SocketAddr,
        timeout: Duration,
        options: TcpOptions,
    ) -> Result<TcpStream, ConnectError> {
        self.shared.connect(peer, options, timeout).await
    }

    /// Binds UDP port `port` of every address; 0 picks a free one.
    ///
    /// # Errors
    /// The port is taken, or none is free.
    pub fn bind_udp(&self, port: u16) -> Result<UdpSocket, BindError> {
        self.shared.bind_udp(port)
    }

    /// Returns the address of `name`: `name` itself if it is written as an address, else what DNS
    /// answers, IPv4 first. Takes at most 30 s.
    ///
    /// # Errors
    /// No server is known, or the name has no address.
    pub async fn resolve(&self, name: &str) -> Result<IpAddr, ResolveError> {
        self.shared.resolve(name).await
    }

    /// Returns the interface's addresses and prefix lengths in bits.
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.shared.with(|stack| stack.addresses())
    }

    /// Logs whether there is a device, and the state of the lease.
    pub(crate) fn log_condition(&self) {
        let condition = self.link.condition.borrow();
        let lease = self.shared.with(|stack| match &stack.dhcp {
            Some(dhcp) => dhcp.state(),
            None => "off",
        });
        log::info!("status: device {condition}; dhcp {lease}");
    }

    /// Logs what the channel has counted, or that there is none.
    pub(crate) fn log_channel(&self) {
        self.shared.with(|stack| match &stack.channel {
            Some(channel) => channel.log_status(GrantedRegion::frames),
            None => log::info!("status: vmc off"),
        });
    }

    /// Returns what has been counted since boot.
    pub fn statistics(&self) -> Statistics {
        let link = self.link.statistics.get();
        self.shared.with(|stack| {
            let (sockets, socket_bytes) = stack.tcp.usage();
            Statistics {
                link,
                accepted: stack.tcp.counters.accepted,
                connected: stack.tcp.counters.connected,
                backlog_full: stack.tcp.counters.backlog_full,
                linger_resets: stack.tcp.counters.linger_resets,
                sockets,
                socket_bytes,
            }
        })
    }
}

/// Waits for the first lease, for as long as it takes. `sleep` waits.
pub(crate) async fn wait_for_lease<P: Platform, S: Future>(
    shared: &Shared<P>,
    sleep: impl Fn(Duration) -> S,
) {
    let mut reminder = LEASE_REMINDER;
    let mut waited = Duration::ZERO;
    loop {
        let pause = reminder.pause();
        let leased = poll_fn(|cx| shared.poll_lease(cx));
        if let Either::First(()) = select(leased, sleep(pause)).await {
            return;
        }
        waited += pause;
        log::warn!("net: no DHCP lease after {waited:?}, waiting for a server");
    }
}

/// Returns the guest's UUID.
///
/// # Errors
/// xenstore has none that is valid.
async fn identity(store: &Xenstore) -> Result<[u8; 16], NetError> {
    let mut retry = IDENTITY_RETRY;
    loop {
        match store.uuid().await {
            Ok(uuid) => return Ok(uuid),
            Err(error @ (StoreError::NotFound | StoreError::Denied | StoreError::Invalid)) => {
                return Err(NetError::Identity(error));
            }
            Err(error) => {
                let pause = retry.pause();
                log::warn!("net: the domain's UUID: {error}; the next try follows in {pause:?}");
                time::sleep(pause).await;
            }
        }
    }
}

/// Starts the channel of the guest `uuid`, unless the command line says `vmc=off`.
fn start_channel(shared: &Shared, uuid: Uuid, options: &ChannelOptions) {
    if let Some(Started { part, task }) = channel::start(shared, Xen, Xen, uuid, options) {
        lifecycle::register(part);
        task::spawn(task).detach();
    }
}

/// Returns a seed that differs between boots and between guests. It need not be secret for
/// smoltcp.
fn seed(mac: EthernetAddress) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let mut seed = mac.rotate_left(16)
        ^ time::now().as_nanos()
        ^ (time::unix_time().as_nanos() as u64).rotate_left(32);
    // The mixing step of splitmix64.
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}
