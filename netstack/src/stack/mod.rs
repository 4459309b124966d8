//! The interface and its sockets, without the device and without a clock of its own.
//!
//! [`Stack`] is driven from outside: [`Stack::poll`] is given a device and the time, does a
//! bounded amount of work and says when it wants to be called again. In the guest the interface
//! task does that ([`crate::network`]); in host tests a virtual clock does.
//! Sockets share the stack by reference count and wait by wakers only.
//!
//! Read in this order: this file, `poll.rs` (the loop), `addresses.rs`, then [`crate::tcp`].

mod addresses;
mod mend;
mod poll;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::IpAddr;
use core::task::{Context, Poll, Waker};

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use vmc::Vmc;

use crate::announce::Announcer;
use crate::channel::{Channel, TcpSocket, World};
use crate::dhcp::Dhcp;
use crate::dns::Resolver;
use crate::options::Limits;
use crate::tcp::{Record, Table};

pub(crate) use addresses::{Addressing, is_host};

/// Interface, sockets and their book-keeping.
pub(crate) struct Stack {
    pub(crate) iface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) tcp: Table,
    pub(crate) resolver: Resolver,
    pub(crate) dhcp: Option<Dhcp>,
    pub(crate) announcer: Announcer,
    pub(crate) counters: Counters,
    /// Shared memory with guests of this host; none with `vmc=off`.
    pub(crate) channel: Option<Channel>,
    /// Largest IP packet that the link carries, in bytes.
    pub(crate) ip_mtu: usize,
    mending: mend::Mending,
    mac: EthernetAddress,
    kicked: bool,
    poller: Option<Waker>,
}

/// What the stack counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// TCP connections accepted.
    pub(crate) accepted: u64,
    /// TCP connections opened.
    pub(crate) connected: u64,
    /// Times that a listener had no room, in its backlog or in memory, for another connection.
    pub(crate) backlog_full: u64,
    /// Closed connections reset because they did not finish within their linger time.
    pub(crate) linger_resets: u64,
}

/// A stack that several sockets and one poller share.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<Stack>>);

impl Shared {
    /// A stack without addresses on `device`. `seed` feeds sequence numbers and port choice and
    /// must differ between boots.
    pub(crate) fn new<D: Device>(
        device: &mut D,
        mac: EthernetAddress,
        seed: u64,
        limits: Limits,
    ) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let iface = Interface::new(config, device, Instant::ZERO);
        Self(Rc::new(RefCell::new(Stack {
            iface,
            sockets: SocketSet::new(Vec::new()),
            tcp: Table::new(limits, seed),
            resolver: Resolver::default(),
            dhcp: None,
            announcer: Announcer::default(),
            counters: Counters::default(),
            channel: None,
            ip_mtu: device.capabilities().ip_mtu(),
            mending: mend::Mending::default(),
            mac,
            kicked: false,
            poller: None,
        })))
    }

    /// Runs `f` on the stack. No waker runs code of its own here, so `f` cannot be re-entered.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Stack) -> T) -> T {
        f(&mut self.0.borrow_mut())
    }

    /// Ready when a socket operation has left work for the poller since the last call.
    pub(crate) fn poll_kicked(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|stack| {
            if core::mem::take(&mut stack.kicked) {
                Poll::Ready(())
            } else {
                stack.poller = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }
}

impl Stack {
    /// Says that there is something to send or to settle: the poller is woken.
    pub(crate) fn kick(&mut self) {
        self.kicked = true;
        if let Some(waker) = self.poller.take() {
            waker.wake();
        }
    }

    /// Whether [`Self::kick`] was called since the last poll.
    #[cfg(test)]
    pub(crate) fn is_kicked(&self) -> bool {
        self.kicked
    }

    /// Begins to share memory with guests of this host.
    pub(crate) fn set_channel(&mut self, vmc: Vmc<World>) {
        self.channel = Some(Channel::new(vmc, &mut self.sockets));
    }

    /// Lets go of a connection: what was written is still delivered.
    pub(crate) fn release(&mut self, record: &Rc<Record>) {
        if let (Some(conn), Some(channel)) = (record.channel.get(), &mut self.channel) {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(record.handle);
            channel.vmc.finish(conn, &mut TcpSocket(socket));
            channel.vmc.release(conn);
            channel.kick();
        }
        self.tcp.release(&mut self.sockets, record);
    }

    /// Resets a connection: what was written and not yet sent is lost.
    pub(crate) fn reset(&mut self, record: &Rc<Record>) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(record.handle);
        match (record.channel.get(), &mut self.channel) {
            (Some(conn), Some(channel)) => {
                channel.vmc.abort(conn, &mut TcpSocket(socket));
                channel.kick();
            }
            _ => socket.abort(),
        }
    }

    /// Whether a packet to `addr` would find a source address and a route.
    pub(crate) fn reachable(&self, addr: IpAddr) -> bool {
        let on_link = |cidr: &IpCidr| cidr.contains_addr(&addr.into());
        let routed = match addr {
            IpAddr::V4(_) => {
                self.iface.routes().get_default_ipv4_route().is_some()
                    && self.iface.ipv4_addr().is_some()
            }
            IpAddr::V6(_) => {
                self.iface.routes().get_default_ipv6_route().is_some()
                    && self.iface.ipv6_addr().is_some()
            }
        };
        routed || self.iface.ip_addrs().iter().any(on_link)
    }
}
