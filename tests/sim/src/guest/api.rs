//! What netstack does between `vmc` and smoltcp: which pair of addresses a call
//! is about, and which way a segment goes. This file and `outputs.rs` alone
//! depend on the form of `vmc`'s calls.

use std::net::IpAddr;
use std::rc::Rc;

use vmc::{Pair, PeerState};

use super::{Guest, Wires};
use crate::frames::{Cargo, Ends, SHORTEST};
use crate::network::Datagram;
use crate::place::mac;
use crate::tcp::Outgoing;

/// Whether a segment that is sent again may take the link, as the first time.
const RESENT_BY_LINK: bool = false;

impl Guest {
    /// Asks whether a guest lives at the other end of a pair of addresses, on
    /// this host.
    pub fn greet(&mut self, pair: Pair) {
        self.greeted.insert(pair.remote);
        self.vmc.greet(pair);
    }

    /// Returns what is known of the guest at the other end of a pair.
    #[must_use]
    pub fn peer(&self, pair: Pair) -> PeerState {
        self.vmc.peer(pair)
    }

    /// Sends a frame by a link; returns whether it went.
    pub fn send_frame(&mut self, pair: Pair, frame: &[u8]) -> bool {
        self.vmc.send_frame(pair, frame)
    }

    /// Gives the channel a datagram.
    pub(super) fn take(&mut self, datagram: &Datagram) {
        let pair = Pair {
            local: datagram.to,
            remote: datagram.from,
        };
        self.vmc.datagram(pair, &datagram.bytes);
    }

    /// Changes the guest's addresses.
    pub fn set_addresses(&mut self, own: &[IpAddr], wires: &mut Wires) {
        self.addresses = own.to_vec();
        self.vmc.set_addresses(own);
        self.outputs(wires);
    }

    /// Sends a datagram that the channel asks for.
    pub(super) fn send(&mut self, pair: Pair, bytes: Vec<u8>, wires: &mut Wires) {
        let (from, to) = (pair.local, pair.remote);
        if !self.addresses.contains(&from) {
            return;
        }
        for &owner in wires.places.owners_ever(to) {
            if self.greeted.contains(&to) {
                wires.account.contact(self.number, owner);
            }
        }
        // Guests may tell each other what they have to say.
        let is_asked = self.greeted.contains(&to) || !wires.places.owners_ever(to).is_empty();
        if !is_asked && let Err(what) = wires.account.send(self.number, to, bytes.len()) {
            wires.log.violation(|| format!("g{}: {what}", self.number));
        }
        let datagram = Datagram {
            from,
            to,
            origin: Some(self.number),
            bytes,
        };
        wires.network.send(wires.clock.get(), &datagram);
    }

    /// Returns what the channel keeps for peers that were suspended: links that
    /// are not settled.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.vmc.statistics().unsettled
    }

    /// Sends what the TCP of each connection has to send: bare segments by a
    /// link, if all earlier ones took one, and all others through the network.
    pub(super) fn send_segments(&mut self, wires: &mut Wires) {
        for index in 0..self.endpoints.len() {
            if self.endpoints[index].has_unsent() && !self.endpoints[index].is_considered {
                // Its SYN has just come out of a link, and SYN-ACK is next.
                self.consider(index, &wires.log);
            }
            while let Some((pair, outgoing)) = self.endpoints[index].take_unsent() {
                self.route(index, pair, outgoing, wires);
            }
        }
    }

    fn route(&mut self, index: usize, pair: Pair, outgoing: Outgoing, wires: &mut Wires) {
        let now = wires.clock.get();
        let (tcp, side) = self.endpoints[index].tcp();
        let may_take_link = tcp.borrow().is_off_network(side)
            && outgoing.is_bare()
            && (RESENT_BY_LINK || outgoing.tries == 0);
        if may_take_link {
            let id = tcp.borrow().next_id();
            let cargo = Cargo::Segment {
                tcp: Rc::clone(&tcp),
                side,
                id,
            };
            let ends = Ends {
                macs: [
                    mac(self.number),
                    wires.places.next_hop(&self.addresses, pair.remote),
                ],
                addresses: [pair.local, pair.remote],
            };
            let (number, frame) = wires.frames.make(&ends, cargo, SHORTEST);
            if self.send_frame(pair, &frame) {
                tcp.borrow_mut().sent_by_link(side, now, outgoing);
                return;
            }
            wires.frames.refused(number);
        }
        tcp.borrow_mut().send_by_network(side, now, outgoing);
    }
}
