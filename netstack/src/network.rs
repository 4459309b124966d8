//! The network as an appliance uses it, and the task that drives it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use kernel::event::{EventChannel, EventError};
use kernel::lifecycle::{self, Lifecycle, Outcome, Phase};
use kernel::xenbus::{BusError, Frontend, State};
use kernel::xenstore::Xenstore;
use kernel::{PAGE_SIZE, mem, task, time};
use smoltcp::wire::EthernetAddress;

use crate::config::Config;
use crate::error::{BindError, ConnectError, ResolveError};
use crate::netfront::{
    Attached, Connection, Domain, Features, Former, LinkStatistics, Netfront, PageError, attach,
    reattach, wait_connected,
};
use crate::options::{Limits, TcpOptions};
use crate::stack::Shared;
use crate::tcp::{TcpListener, TcpStream};
use crate::udp::UdpSocket;

/// How long DHCP may take.
const LEASE_PATIENCE: Duration = Duration::from_secs(30);

/// The network of this guest: one interface, and sockets on it. A cheap handle.
#[derive(Clone)]
pub struct Network {
    shared: Shared,
    link: Rc<Link>,
}

/// What the driving task, the attending task and the handles share about the device.
#[derive(Default)]
struct Link {
    statistics: Cell<LinkStatistics>,
    /// A suspend is near; the driving task has not settled the device yet.
    settling: Cell<bool>,
    /// What the driving task is to do next.
    order: RefCell<Option<Order>>,
    /// The domain is a new one; the attending task has not seen it yet.
    moved: Cell<bool>,
    attendant: Cell<Option<Waker>>,
}

/// What the driving task is told about the connection.
enum Order {
    /// The backend has closed it.
    Disconnect,
    /// It ended with the former domain.
    Lose,
    /// Here is the next one.
    Connect(Box<Connection<Domain>>),
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
    /// TCP sockets there are, listening and lingering ones included.
    pub sockets: usize,
    /// Bytes in their buffers.
    pub socket_bytes: usize,
}

/// Why the network did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetError {
    /// No device, or its backend does not come up.
    Bus(BusError),
    /// The device's MAC address, from xenstore, means nothing.
    Mac(String),
    /// The device's MTU, from xenstore, is outside 1280 to 9216.
    Mtu(String),
    /// The backend cannot copy into our pages (`feature-rx-copy`).
    NoRxCopy,
    /// No pages for the rings.
    Pages(PageError),
    /// No event channel.
    Event(EventError),
    /// DHCP gave no lease in time.
    NoLease(Duration),
}

impl Network {
    /// Connects the first virtual interface and gives it its addresses. Ready when the interface
    /// can be used: with `ip=dhcp` that is after the lease.
    ///
    /// # Errors
    /// No device, no answer from its backend within 30 s per step, no lease within 30 s.
    pub async fn start(store: Xenstore, config: Config) -> Result<Self, NetError> {
        let free_pages = mem::frames::usage().free;
        // The device may take an eighth of the free memory, half of it for each direction.
        let device_pages = (free_pages / 16).clamp(32, 256);
        let Attached {
            frontend,
            connection,
            mac,
            ip_mtu,
        } = attach(&store, 0, device_pages, device_pages).await?;
        let features = connection.features();
        let mut device = Netfront::new(connection, ip_mtu);
        let limits = config.limits.unwrap_or(Limits {
            tcp_bytes: free_pages * PAGE_SIZE / 2,
            ..Limits::default()
        });
        let shared = Shared::new(&mut device, mac, seed(mac), limits);
        shared.with(|stack| stack.resolver.set_configured(&config.dns));
        let link = Rc::new(Link::default());
        task::spawn(drive(shared.clone(), device, link.clone())).detach();
        let attendant = Attendant {
            shared: shared.clone(),
            store,
            link: link.clone(),
            former: Former {
                backend: frontend.backend_domid(),
                features,
            },
            device_pages,
        };
        lifecycle::register(Rc::new(Part {
            shared: shared.clone(),
            link: link.clone(),
        }));
        task::spawn(attendant.run(frontend)).detach();
        if config.dhcp {
            shared.start_dhcp(config.fixed, config.hostname);
            time::timeout(LEASE_PATIENCE, poll_fn(|cx| shared.poll_lease(cx)))
                .await
                .map_err(|_| NetError::NoLease(LEASE_PATIENCE))?;
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

    /// Listens on TCP port `port` of every address; at most `backlog` connections, handshakes
    /// included, wait to be accepted. Default options.
    ///
    /// # Errors
    /// The port is 0 or taken, or there is no memory for the buffers.
    pub fn listen(&self, port: u16, backlog: usize) -> Result<TcpListener, BindError> {
        self.listen_with(port, backlog, TcpOptions::default())
    }

    /// As [`Self::listen`]; `options` apply to every connection that is accepted.
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

    /// Opens a TCP connection; the handshake may take `timeout`. Default options. Dropping the
    /// future gives the attempt up.
    ///
    /// # Errors
    /// Nobody listens, nobody answers, no route, no memory.
    pub async fn connect(
        &self,
        peer: SocketAddr,
        timeout: Duration,
    ) -> Result<TcpStream, ConnectError> {
        self.connect_with(peer, timeout, TcpOptions::default())
            .await
    }

    /// As [`Self::connect`], with options.
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

    /// The address of `name`: itself if it is written as an address, else asked of DNS, IPv4
    /// first. Ends within 30 s.
    ///
    /// # Errors
    /// No server is known, or the name has no address.
    pub async fn resolve(&self, name: &str) -> Result<IpAddr, ResolveError> {
        self.shared.resolve(name).await
    }

    /// The interface's addresses and prefix lengths in bits.
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.shared.with(|stack| stack.addresses())
    }

    /// What has been counted since boot.
    pub fn statistics(&self) -> Statistics {
        let link = self.link.statistics.get();
        self.shared.with(|stack| {
            let (sockets, socket_bytes) = stack.tcp.usage();
            Statistics {
                link,
                accepted: stack.counters.accepted,
                connected: stack.counters.connected,
                backlog_full: stack.counters.backlog_full,
                linger_resets: stack.counters.linger_resets,
                sockets,
                socket_bytes,
            }
        })
    }
}

/// A seed that differs between boots and guests. smoltcp wants it different, not secret.
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

/// How far smoltcp's clock is put forward when the network comes back after a migration: past
/// its least retransmission time-out of one second (`RTTE_MIN_RTO`). What was sent and not
/// acknowledged, because the acknowledgement found nobody there, is then sent again at once. The
/// network's time did go on while the guest's stood still.
const NUDGE: Duration = Duration::from_millis(1100);

/// smoltcp's clock: the guest's, and all nudges.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    ahead: Duration,
}

impl Clock {
    fn now(self) -> smoltcp::time::Instant {
        let micros = time::turn().as_nanos() / 1000 + self.ahead.as_micros() as u64;
        smoltcp::time::Instant::from_micros(micros as i64)
    }

    /// The same point on the guest's clock.
    fn to_guest(self, at: smoltcp::time::Instant) -> time::Instant {
        let micros = (at.total_micros() as u64).saturating_sub(self.ahead.as_micros() as u64);
        time::Instant::from_nanos(micros.saturating_mul(1000))
    }

    fn nudge(&mut self) {
        self.ahead += NUDGE;
    }
}

/// Drives the stack: polls it while there is work, then waits for the device, a socket operation
/// or a timer.
async fn drive(shared: Shared, mut device: Netfront<Domain>, link: Rc<Link>) {
    let mut clock = Clock::default();
    loop {
        match link.order.take() {
            None => {}
            Some(Order::Lose) => device.lose_connection(),
            Some(Order::Disconnect) => device.disconnect(),
            Some(Order::Connect(connection)) => {
                device.reconnect(*connection);
                clock.nudge();
                shared.with(|stack| stack.announcer.restart());
            }
        }
        let progress = shared.with(|stack| stack.poll(&mut device, clock.now()));
        device.finish_batch();
        if link.settling.take() {
            device.settle();
        }
        link.statistics.set(device.statistics());
        if progress.again || device.has_work() {
            task::yield_now().await;
            continue;
        }
        let deadline = progress.deadline.map(|at| clock.to_guest(at));
        let channel = device.connection().map(|link| link.backend().channel());
        let (wake, waited) = wait(&shared, channel.as_deref(), deadline).await;
        if wake == Wake::Event {
            device.count_event();
        }
        if !waited {
            // Other tasks and the clock get their turn even where events never stop.
            task::yield_now().await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Event,
    Socket,
    Timer,
}

/// Waits for whichever comes first, and says whether it was there already.
async fn wait(
    shared: &Shared,
    channel: Option<&EventChannel>,
    deadline: Option<time::Instant>,
) -> (Wake, bool) {
    let mut waited = false;
    let mut event = pin!(async {
        match channel {
            // A stale channel has no events any more; its connection is about to be replaced.
            Some(channel) if channel.wait().await.is_ok() => {}
            _ => core::future::pending().await,
        }
    });
    let mut timer = pin!(async {
        match deadline {
            Some(deadline) => time::sleep_until(deadline).await,
            None => core::future::pending().await,
        }
    });
    poll_fn(|cx| {
        let wake = if event.as_mut().poll(cx).is_ready() {
            Wake::Event
        } else if shared.poll_kicked(cx).is_ready() {
            Wake::Socket
        } else if timer.as_mut().poll(cx).is_ready() {
            Wake::Timer
        } else {
            waited = true;
            return Poll::Pending;
        };
        Poll::Ready((wake, waited))
    })
    .await
}

/// The network's part in a suspend. Nothing is closed before it: the device stays connected, which
/// makes a cancelled suspend free of charge.
struct Part {
    shared: Shared,
    link: Rc<Link>,
}

impl Lifecycle for Part {
    fn name(&self) -> &'static str {
        "network"
    }

    fn settle(&self) {
        self.link.settling.set(true);
        self.shared.with(|stack| stack.kick());
    }

    fn is_settled(&self) -> bool {
        !self.link.settling.get()
    }

    fn resume(&self, outcome: Outcome) {
        if outcome == Outcome::NewDomain {
            self.link.moved.set(true);
            if let Some(attendant) = self.link.attendant.take() {
                attendant.wake();
            }
            self.link.tell(&self.shared, Order::Lose);
        }
    }
}

impl Link {
    /// Gives the driving task an order, in place of one that it has not seen yet. A connection
    /// that is lost before it was used leaves nothing behind.
    fn tell(&self, shared: &Shared, order: Order) {
        let former = self.order.replace(Some(order));
        drop(former);
        shared.with(|stack| stack.kick());
    }

    /// Ready once the domain is a new one.
    fn poll_moved(&self, context: &Context<'_>) -> Poll<()> {
        if self.moved.take() {
            return Poll::Ready(());
        }
        let former = self.attendant.replace(Some(context.waker().clone()));
        drop(former);
        Poll::Pending
    }
}

/// The task that keeps the device connected.
struct Attendant {
    shared: Shared,
    store: Xenstore,
    link: Rc<Link>,
    former: Former,
    /// Pages for each direction.
    device_pages: usize,
}

/// Why the attendant's watch over a backend ended.
enum End {
    /// The guest is another domain.
    Moved,
    /// The backend closes the device, as in `xl network-detach`.
    Closed,
    /// It cannot be watched.
    Failed(BusError),
}

impl Attendant {
    async fn run(mut self, mut frontend: Frontend) {
        loop {
            match self.watch(&mut frontend).await {
                End::Moved => {}
                End::Closed => {
                    log::warn!("net: the backend has closed the device");
                    self.link.tell(&self.shared, Order::Disconnect);
                    // Pages are taken back before the toolstack hears that we are done with them.
                    task::yield_now().await;
                    if let Err(error) = frontend.set_state(State::Closed).await {
                        log::warn!("net: {error}");
                    }
                    self.moved().await;
                }
                End::Failed(error) => {
                    log::error!("net: the backend is not watched any more: {error}");
                    self.moved().await;
                }
            }
            frontend = self.reconnect().await;
        }
    }

    /// Waits until the guest is another domain.
    async fn moved(&self) {
        poll_fn(|context| self.link.poll_moved(context)).await;
    }

    /// Waits for `work`, or until the guest is another domain, and `work` would be in vain.
    async fn unless_moved<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.link.poll_moved(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Watches the backend until something ends that.
    async fn watch(&self, frontend: &mut Frontend) -> End {
        let closing = async {
            loop {
                match frontend.backend_changed().await {
                    Ok(State::Closing | State::Closed | State::Unknown) => return End::Closed,
                    Ok(_) => {}
                    Err(error) => return End::Failed(error),
                }
            }
        };
        self.unless_moved(closing).await.unwrap_or(End::Moved)
    }

    /// Connects the device of the new domain; begins again where the guest has moved on
    /// meanwhile. Where it cannot be connected the guest waits, without a network, for the next
    /// time it is moved.
    async fn reconnect(&mut self) -> Frontend {
        loop {
            match self.unless_moved(self.connect()).await {
                None => {}
                Some(Ok((frontend, features))) => {
                    self.former = Former {
                        backend: frontend.backend_domid(),
                        features,
                    };
                    return frontend;
                }
                Some(Err(error)) => {
                    log::error!("net: not reconnected: {error}");
                    self.link.tell(&self.shared, Order::Disconnect);
                    self.moved().await;
                }
            }
        }
    }

    /// Connects once.
    async fn connect(&self) -> Result<(Frontend, Features), NetError> {
        let pages = self.device_pages;
        let (mut frontend, connection) =
            reattach(&self.store, 0, self.former, pages, pages).await?;
        let features = connection.features();
        // What is sent from here on is in the ring when the backend looks there first.
        let order = Order::Connect(Box::new(connection));
        self.link.tell(&self.shared, order);
        wait_connected(&mut frontend).await?;
        lifecycle::reached(Phase::VifConnected);
        Ok((frontend, features))
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(error) => write!(f, "network: {error}"),
            Self::Mac(text) => write!(f, "network: MAC address {text:?} means nothing"),
            Self::Mtu(text) => write!(f, "network: MTU {text:?} is not within 1280 to 9216"),
            Self::NoRxCopy => f.write_str("network: the backend cannot copy received packets"),
            Self::Pages(error) => write!(f, "network: {error}"),
            Self::Event(error) => write!(f, "network: {error}"),
            Self::NoLease(waited) => {
                write!(f, "network: no DHCP lease within {} s", waited.as_secs())
            }
        }
    }
}

impl core::error::Error for NetError {}

impl From<BusError> for NetError {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<PageError> for NetError {
    fn from(error: PageError) -> Self {
        Self::Pages(error)
    }
}

impl From<EventError> for NetError {
    fn from(error: EventError) -> Self {
        Self::Event(error)
    }
}
