//! Ethernet below smoltcp: headers, next hops, and the neighbours' MAC addresses.
//!
//! smoltcp 0.14 resolves neighbours itself on `Medium::Ethernet`, but not independently of each
//! other: a datagram whose neighbour does not answer stays at the head of its socket's queue, and
//! its requests use up the one request a second that all neighbours have together
//! (`neighbor::Cache::silent_until`). So smoltcp sends and receives IP packets here
//! (`Medium::Ip`), and this module does what RFC 826 and RFC 4861 ask of a host: each neighbour has
//! requests, time-outs and held packets of its own, and one that does not answer delays nobody else
//! (design rule R17).
//!
//! A frame on its way out passes [`Framed`] (adds the header), then what looks into frames
//! ([`super::mend`], the channel's links), then [`Port`] (finds the neighbour) and the [`Card`].
//!
//! Read in this order: this file, `networks.rs` (where a packet goes next), `neighbours.rs` (what is
//! known), `asked.rs` (what is being asked), `discovery.rs` (ARP and neighbour discovery on the
//! wire), `framed.rs` and `port.rs` (the way of a frame), `control.rs` (answers to others, and
//! DHCP).

mod asked;
mod control;
mod discovery;
mod framed;
mod neighbours;
mod networks;
mod port;

use smoltcp::iface::Interface;
use smoltcp::phy::{Device, PacketMeta};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame};

pub(crate) use control::Control;
pub(super) use framed::Framed;
use neighbours::Neighbours;
use networks::{Hop, Networks};
pub(super) use port::Port;

/// A network card. A frame for it can be let go of once it is built: only then is it known where it
/// goes.
pub(crate) trait Card: Device {
    /// Has `build` make a frame of `len` bytes, and sends it if `build` returns true beside its
    /// result.
    fn send_if<'a, R>(
        token: Self::TxToken<'a>,
        len: usize,
        build: impl FnOnce(&mut [u8]) -> (R, bool),
    ) -> R
    where
        Self: 'a;
}

/// What the stack knows about its Ethernet link.
pub(crate) struct Ethernet {
    mac: EthernetAddress,
    networks: Networks,
    neighbours: Neighbours,
}

impl Ethernet {
    /// Makes a link of which nothing is known but the own address.
    pub(super) fn new(mac: EthernetAddress) -> Self {
        Self {
            mac,
            networks: Networks::default(),
            neighbours: Neighbours::default(),
        }
    }

    /// Takes over another card, which may be on another link.
    pub(super) fn set_mac(&mut self, mac: EthernetAddress) {
        self.mac = mac;
        self.neighbours.doubt();
    }

    /// Takes over the addresses and default routes of `iface`. What is known of the neighbours is
    /// asked again, because the link may be another one.
    pub(super) fn set_addresses(&mut self, iface: &Interface) {
        self.networks.set(iface);
        self.neighbours.doubt();
    }

    /// Takes note that the guest may be on another link now: every neighbour is asked again when it
    /// is needed next.
    pub(super) fn doubt(&mut self) {
        self.neighbours.doubt();
    }

    /// Writes the MAC address of the next hop into a frame. Returns false if the frame cannot be
    /// sent: it goes nowhere, or it is held until the neighbour has answered.
    fn direct(&mut self, frame: &mut [u8], meta: PacketMeta, now: Instant) -> bool {
        let Some(destination) = networks::destination(frame) else {
            return false;
        };
        let mac = match self.networks.hop(destination) {
            Hop::Group(mac) => mac,
            Hop::Neighbour(neighbour) => match self.neighbours.find(neighbour, now) {
                Some(mac) => mac,
                None => {
                    self.neighbours.hold(neighbour, frame, meta);
                    return false;
                }
            },
            Hop::Nowhere => return false,
        };
        EthernetFrame::new_unchecked(frame).set_dst_addr(mac);
        true
    }

    /// Sends what waits for `card`: packets whose neighbour has answered.
    pub(super) fn flush<C: Card>(&mut self, card: &mut C, now: Instant) {
        self.neighbours.flush(card, now);
    }

    /// Sends the requests that are due, and gives up on neighbours that have had enough of them.
    pub(super) fn ask<C: Card>(&mut self, card: &mut C, now: Instant) {
        let (mac, networks) = (self.mac, &self.networks);
        self.neighbours.ask(now, |neighbour| {
            let Some(source) = networks.source(neighbour) else {
                // Without an address of that family there is no one to answer to.
                return true;
            };
            let Some(token) = card.transmit(now) else {
                return false;
            };
            discovery::request(token, mac, source, neighbour);
            true
        });
    }

    /// Returns when [`Self::flush`] or [`Self::ask`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.neighbours.deadline()
    }

    /// Returns the number of neighbours that are known, of those that are asked, and of bytes that
    /// wait for one.
    #[cfg(test)]
    pub(crate) fn holdings(&self) -> (usize, usize, usize) {
        self.neighbours.holdings()
    }
}
