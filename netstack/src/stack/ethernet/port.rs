//! The card as the rest of the stack sees it: frames go to the neighbour that they are for, and what
//! is not IP for this guest does not get past here.

use core::cell::RefCell;
use core::net::IpAddr;

use smoltcp::phy::{self, Device, DeviceCapabilities, PacketMeta};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet};

use super::control::{Inbox, is_dhcp};
use super::discovery::{Heard, read_arp, read_discovery};
use super::{Card, Ethernet};
use crate::autoconf::is_advertisement;

/// The card, and what is known of the link behind it.
pub(in crate::stack) struct Port<'a, C> {
    card: &'a mut C,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    ethernet: &'a mut Ethernet,
    control: &'a mut Inbox,
}

impl<'a, C: Card> Port<'a, C> {
    pub(in crate::stack) fn new(
        card: &'a mut C,
        ethernet: &'a mut Ethernet,
        control: &'a mut Inbox,
    ) -> Self {
        let state = RefCell::new(State { ethernet, control });
        Self { card, state }
    }
}

impl<'a, C: Card> Device for Port<'a, C> {
    type RxToken<'t>
        = RxToken<'t, 'a, C::RxToken<'t>>
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<'t, 'a, C>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let state = &self.state;
        let (frame, token) = self.card.receive(now)?;
        let receive = RxToken { frame, state, now };
        Some((receive, TxToken::new(token, state, now)))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        let token = self.card.transmit(now)?;
        Some(TxToken::new(token, &self.state, now))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.card.capabilities()
    }
}

/// A frame that came in.
pub(in crate::stack) struct RxToken<'t, 'a, R> {
    frame: R,
    state: &'t RefCell<State<'a>>,
    now: Instant,
}

impl<R: phy::RxToken> phy::RxToken for RxToken<'_, '_, R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, f: F) -> T {
        self.frame.consume(|frame| {
            let is_packet = self.state.borrow_mut().hear(frame, self.now);
            // smoltcp takes nothing from an empty frame (`Interface::socket_ingress`).
            f(if is_packet { frame } else { &[] })
        })
    }

    fn meta(&self) -> PacketMeta {
        self.frame.meta()
    }
}

impl State<'_> {
    /// Learns from a frame that came in. Returns true if smoltcp is to have the packet in it.
    fn hear(&mut self, frame: &[u8], now: Instant) -> bool {
        let Ok(link) = EthernetFrame::new_checked(frame) else {
            return false;
        };
        let ethernet = &mut *self.ethernet;
        let is_single = link.dst_addr() == ethernet.mac;
        if !is_single && !link.dst_addr().is_multicast() {
            return false;
        }
        let (packet, networks) = (link.payload(), &ethernet.networks);
        let heard = match link.ethertype() {
            EthernetProtocol::Ipv4 => {
                if self.control.wants_dhcp && is_dhcp(packet) {
                    self.control.push(frame);
                    return false;
                }
                if is_single && let Ok(packet) = Ipv4Packet::new_checked(packet) {
                    ethernet.hear_packet(packet.src_addr().into(), link.src_addr(), now);
                }
                return true;
            }
            EthernetProtocol::Ipv6 if is_advertisement(frame) => {
                self.control.keep_advertisement(frame);
                return false;
            }
            EthernetProtocol::Ipv6 => match read_discovery(packet, networks) {
                Some(heard) => heard,
                None => {
                    if is_single && let Ok(packet) = Ipv6Packet::new_checked(packet) {
                        ethernet.hear_packet(packet.src_addr().into(), link.src_addr(), now);
                    }
                    return true;
                }
            },
            EthernetProtocol::Arp => read_arp(packet, networks),
            EthernetProtocol::Unknown(_) => return false,
        };
        let Heard { claim, is_for_us } = heard;
        if let Some(claim) = claim {
            ethernet.neighbours.hear(claim, now);
        }
        if is_for_us {
            self.control.push(frame);
        }
        false
    }
}

impl Ethernet {
    fn hear_packet(&mut self, from: IpAddr, mac: EthernetAddress, now: Instant) {
        self.neighbours.hear_packet(from, mac, now);
    }
}

/// The right to send one frame.
pub(in crate::stack) struct TxToken<'t, 'a, C: Card + 't> {
    token: C::TxToken<'t>,
    state: &'t RefCell<State<'a>>,
    meta: PacketMeta,
    now: Instant,
}

impl<'t, 'a, C: Card + 't> TxToken<'t, 'a, C> {
    fn new(token: C::TxToken<'t>, state: &'t RefCell<State<'a>>, now: Instant) -> Self {
        Self {
            token,
            state,
            meta: PacketMeta::default(),
            now,
        }
    }
}

impl<'t, C: Card + 't> phy::TxToken for TxToken<'t, '_, C> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self {
            mut token,
            state,
            meta,
            now,
        } = self;
        phy::TxToken::set_meta(&mut token, meta);
        C::send_if(token, len, |frame| {
            let result = f(frame);
            let is_sent = state.borrow_mut().ethernet.direct(frame, meta, now);
            (result, is_sent)
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}
