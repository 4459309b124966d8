//! What hosts say to each other to keep the link: a second interface of smoltcp answers ARP and
//! neighbour discovery, and runs the DHCP client, which needs an Ethernet interface. It sends and
//! receives nothing else.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpProtocol, Ipv4Packet, UdpPacket};

use crate::memory::copied;

/// Frames that wait at most: as many as are received at a time.
const INBOX: usize = 64;
/// Rounds of sending at most in one poll: there is one socket.
const SEND_ROUNDS: usize = 4;
/// UDP ports of a DHCP server and its client (RFC 2131 section 4.1).
const DHCP: (u16, u16) = (67, 68);

/// Whether an IPv4 packet is from a DHCP server to a client.
pub(super) fn is_dhcp(packet: &[u8]) -> bool {
    let Ok(packet) = Ipv4Packet::new_checked(packet) else {
        return false;
    };
    packet.next_header() == IpProtocol::Udp
        && UdpPacket::new_checked(packet.payload())
            .is_ok_and(|datagram| (datagram.src_port(), datagram.dst_port()) == DHCP)
}

/// Frames for the control interface.
#[derive(Default)]
pub(crate) struct Inbox {
    frames: VecDeque<Vec<u8>>,
    /// Whether there is a DHCP client.
    pub(super) wants_dhcp: bool,
    /// The last router advertisement, with its frame.
    advertisement: Option<Vec<u8>>,
}

impl Inbox {
    /// Keeps a copy of a frame, if there is room.
    pub(super) fn push(&mut self, frame: &[u8]) {
        if self.frames.len() < INBOX {
            self.frames.extend(copied(frame));
        }
    }

    /// Keeps a copy of a router advertisement instead of the last one, if there is room.
    pub(super) fn keep_advertisement(&mut self, frame: &[u8]) {
        self.advertisement = copied(frame).ok();
    }

    /// Takes the last router advertisement.
    pub(in crate::stack) fn take_advertisement(&mut self) -> Option<Vec<u8>> {
        self.advertisement.take()
    }
}

/// The control interface.
pub(crate) struct Control {
    iface: Interface,
    sockets: SocketSet<'static>,
    pub(in crate::stack) inbox: Inbox,
    /// When there is something to do without a frame; at once, before the first poll.
    next: Option<Instant>,
}

impl Control {
    /// Makes an interface without addresses on `card`.
    pub(in crate::stack) fn new(
        card: &mut impl Device,
        mac: EthernetAddress,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            iface: interface(card, mac, seed, now),
            sockets: SocketSet::new(Vec::new()),
            inbox: Inbox::default(),
            next: None,
        }
    }

    /// Takes over another card. Addresses are to be set anew.
    pub(in crate::stack) fn take_device(
        &mut self,
        card: &mut impl Device,
        mac: EthernetAddress,
        seed: u64,
        now: Instant,
    ) {
        self.iface = interface(card, mac, seed, now);
        self.wake();
    }

    /// Has the DHCP client looked after in the next poll.
    pub(in crate::stack) fn wake(&mut self) {
        self.next = Some(Instant::ZERO);
    }

    /// Returns the sockets for the DHCP client to add its own, or to be polled.
    pub(in crate::stack) fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// Takes note that there is a DHCP client.
    pub(in crate::stack) fn start_dhcp(&mut self) {
        self.inbox.wants_dhcp = true;
        self.wake();
    }

    /// Takes over the addresses and default routes of `other`.
    pub(in crate::stack) fn set_addresses(&mut self, other: &Interface) {
        self.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            // As many as there.
            addresses.extend(other.ip_addrs().iter().copied());
        });
        let (ipv4, ipv6) = (
            other.routes().get_default_ipv4_route(),
            other.routes().get_default_ipv6_route(),
        );
        self.iface.routes_mut().update(|routes| {
            routes.clear();
            routes.extend(ipv4.into_iter().chain(ipv6));
        });
    }

    /// Answers what has come in, and lets the DHCP client send what is due.
    pub(in crate::stack) fn poll(&mut self, card: &mut impl Device, now: Instant) {
        let is_due = self.next.is_some_and(|next| next <= now);
        if self.inbox.frames.is_empty() && !is_due {
            return;
        }
        let frames = &mut self.inbox.frames;
        let mut port = Port { frames, card };
        self.iface.poll_maintenance(now);
        while self
            .iface
            .poll_ingress_single(now, &mut port, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
        for _ in 0..SEND_ROUNDS {
            let sent = self.iface.poll_egress(now, &mut port, &mut self.sockets);
            if sent == PollResult::None {
                break;
            }
        }
        self.next = if self.inbox.frames.is_empty() {
            self.iface.poll_at(now, &self.sockets)
        } else {
            Some(now)
        };
    }

    /// Returns when [`Self::poll`] has something to do.
    pub(in crate::stack) fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

fn interface(card: &mut impl Device, mac: EthernetAddress, seed: u64, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ethernet(mac));
    // The choice of DHCP's transaction numbers does not give away that of TCP's.
    config.random_seed = seed.rotate_left(32);
    Interface::new(config, card, now)
}

/// The card, with only those frames that are for the control interface.
struct Port<'a, D> {
    frames: &'a mut VecDeque<Vec<u8>>,
    card: &'a mut D,
}

impl<D: Device> Device for Port<'_, D> {
    type RxToken<'t>
        = RxToken
    where
        Self: 't;
    type TxToken<'t>
        = D::TxToken<'t>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(RxToken, D::TxToken<'_>)> {
        if self.frames.is_empty() {
            return None;
        }
        // A frame is kept until there is room for its answer.
        let answer = self.card.transmit(now)?;
        Some((RxToken(self.frames.pop_front()?), answer))
    }

    fn transmit(&mut self, now: Instant) -> Option<D::TxToken<'_>> {
        self.card.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.card.capabilities()
    }
}

struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}
