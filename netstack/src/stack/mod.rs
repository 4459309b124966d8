//! The interface and its sockets, without the device and without a clock of its own.
//!
//! [`Stack`] is driven from outside: [`Stack::poll`] is given a device and the time, does a
//! bounded amount of work and returns when it is to be called again. In a guest the interface task
//! calls it ([`crate::network`]), in host tests a world with a virtual clock. Sockets share the
//! stack by reference count, and wait only by wakers.
//!
//! Read in this order: this file, `poll.rs` (the loop), `poller.rs` (what calls it), `ethernet/`
//! (headers and neighbours), `mend.rs`, `addresses.rs`, then [`crate::tcp`].

mod addresses;
mod ethernet;
mod mend;
mod poll;
mod poller;
mod segment;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use vmc::{Platform, Vmc};

use crate::addressing::Addressing;
use crate::announce::Announcer;
use crate::autoconf::Autoconf;
use crate::channel::{Channel, Networks, Routed, TcpSocket, Turn, Xen};
use crate::dhcp::Dhcp;
use crate::dns::Resolver;
use crate::options::Limits;
use crate::tcp::{Record, Table};

use ethernet::{Control, Ethernet, Framed};

pub(crate) use ethernet::Card;
pub(crate) use poller::Poller;

/// Interface, sockets and their book-keeping. `P` is what the channel runs on: Xen in a guest.
pub(crate) struct Stack<P: Platform = Xen> {
    pub(crate) iface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) tcp: Table,
    pub(crate) resolver: Resolver,
    pub(crate) dhcp: Option<Dhcp>,
    pub(crate) announcer: Announcer,
    /// Shared memory with guests of this host; `None` with `vmc=off`.
    pub(crate) channel: Option<Channel<P>>,
    /// Largest IP packet that the link carries, in bytes.
    pub(crate) ip_mtu: usize,
    pub(crate) ethernet: Ethernet,
    control: Control,
    /// Addresses from router advertisements; `None` if there are to be none.
    pub(crate) autoconf: Option<Autoconf>,
    /// The addresses of the command line and the lease.
    addressing: Addressing,
    /// The sum of the times away that have been counted.
    away: Duration,
    mending: mend::Mending,
    mac: EthernetAddress,
    seed: u64,
    poller: Poller,
}

/// A stack that several sockets and one poller share.
pub(crate) struct Shared<P: Platform = Xen>(Rc<RefCell<Stack<P>>>);

impl<P: Platform> Clone for Shared<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Makes the interface that smoltcp's sockets are on. It carries IP packets.
fn interface<P: Platform>(
    card: &mut impl Card,
    mac: EthernetAddress,
    seed: u64,
    now: Instant,
) -> Interface {
    let mut framed = Framed {
        device: Routed::<_, P>::new(card, None),
        mac,
    };
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    Interface::new(config, &mut framed, now)
}

impl<P: Platform> Shared<P> {
    /// Makes a stack without addresses on `device`. `seed` determines sequence numbers and the
    /// choice of ports, and must differ between boots.
    pub(crate) fn new(
        device: &mut impl Card,
        mac: EthernetAddress,
        seed: u64,
        limits: Limits,
    ) -> Self {
        let ip_mtu = device.capabilities().ip_mtu();
        let control = Control::new(device, mac, seed, Instant::ZERO);
        let iface = interface::<P>(device, mac, seed, Instant::ZERO);
        Self(Rc::new(RefCell::new(Stack {
            iface,
            sockets: SocketSet::new(Vec::new()),
            tcp: Table::new(limits, seed),
            resolver: Resolver::default(),
            dhcp: None,
            announcer: Announcer::default(),
            channel: None,
            ip_mtu,
            ethernet: Ethernet::new(mac),
            control,
            autoconf: None,
            addressing: Addressing::default(),
            away: Duration::ZERO,
            mending: mend::Mending::default(),
            mac,
            seed,
            poller: Poller::default(),
        })))
    }

    /// Runs `f` on the stack. Wakers only queue tasks, so nothing re-enters the stack meanwhile.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Stack<P>) -> T) -> T {
        f(&mut self.0.borrow_mut())
    }

    /// Completes if a socket operation has left work for the poller since the last call.
    pub(crate) fn poll_kicked(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|stack| stack.poller.poll_kicked(cx))
    }
}

impl<P: Platform> Stack<P> {
    /// Wakes the poller, because there is something to send or to settle.
    pub(crate) fn kick(&mut self) {
        self.poller.kick();
    }

    /// Whether [`Self::kick`] was called since the last poll.
    #[cfg(test)]
    pub(crate) fn is_kicked(&self) -> bool {
        self.poller.is_kicked()
    }

    /// Begins to share memory with guests of this host.
    pub(crate) fn set_channel(&mut self, vmc: Vmc<P>, networks: Networks) {
        self.channel = Some(Channel::new(vmc, networks, &mut self.sockets));
        self.tell_channel();
    }

    /// Tells the channel the interface's addresses.
    pub(super) fn tell_channel(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.set_addresses(self.iface.ip_addrs());
        }
    }

    /// Takes one turn of the channel; see [`Channel::turn`].
    pub(crate) fn turn_channel(&mut self, rang: impl FnMut(&P::Port) -> bool) -> Turn {
        let Some(channel) = &mut self.channel else {
            return Turn::default();
        };
        channel.turn(&mut self.sockets, &self.tcp, &mut self.poller, rang)
    }

    /// Takes note that the network is back after a migration or with another device: neighbours and
    /// bridges are told where the guest is, the lease and the routers are to be confirmed, because
    /// the network may be another one, and what the channel asked before is asked again, because it
    /// could not reach anybody.
    pub(crate) fn network_is_back(&mut self) {
        self.announcer.restart();
        self.ethernet.doubt();
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.confirm(self.control.sockets());
            self.control.wake();
        }
        if let Some(autoconf) = &mut self.autoconf {
            autoconf.ask_anew();
        }
        if let Some(channel) = &mut self.channel
            && channel.vmc.platform().domid() != 0
        {
            channel.vmc.reach_out();
            channel.kick();
        }
    }

    /// Lets go of a connection; what was written is still delivered.
    pub(crate) fn release(&mut self, record: &Rc<Record>) {
        if let (Some(conn), Some(channel)) = (record.channel.get(), &mut self.channel) {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(record.handle);
            channel.vmc.finish(conn, &mut TcpSocket(socket));
            channel.vmc.release(conn);
            record.finishing.set(true);
            channel.note_written();
            channel.kick();
        }
        self.tcp.release(&mut self.sockets, record);
    }

    /// Resets a connection; what was written and not yet sent is lost.
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

    /// Whether there are a source address and a route for a packet to `addr`.
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
