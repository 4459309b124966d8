//! Addresses: connections and frames between any two of them, and what happens
//! when one changes hands.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use vmc::{FourTuple, Pair};

use super::acts::TCP_PATIENCE;
use super::judge::CONNECT;
use super::{Event, Flow, World};
use crate::endpoint::Endpoint;
use crate::frames::{Cargo, Ends};
use crate::guest::Life;
use crate::ledger::Ledger;
use crate::place::mac;
use crate::plan::Plan;
use crate::tcp::{Connection, Path};

/// Port of the servers.
const SERVER: u16 = 7;
/// First port of the clients.
const CLIENTS: u16 = 40_000;

impl World {
    /// Returns the addresses of a connection from one guest to another, as the
    /// first sees them; `None` if the two have no family in common.
    pub(super) fn pair(&self, [from, to]: [usize; 2], [own, other]: [usize; 2]) -> Option<Pair> {
        let pick = |addresses: &[IpAddr], at: usize| {
            let at = at.checked_rem(addresses.len())?;
            addresses.get(at).copied()
        };
        let (from, to) = (&self.guests[from].addresses, &self.guests[to].addresses);
        let has_family = |address: &IpAddr, of: &[IpAddr]| {
            of.iter().any(|other| other.is_ipv4() == address.is_ipv4())
        };
        let reachable: Vec<_> = to
            .iter()
            .filter(|to| has_family(to, from))
            .copied()
            .collect();
        let remote = pick(&reachable, other)?;
        let local = from
            .iter()
            .filter(|from| from.is_ipv4() == remote.is_ipv4());
        let local = pick(&local.copied().collect::<Vec<_>>(), own)?;
        Some(Pair { local, remote })
    }

    pub(super) fn open(
        &mut self,
        guests: [usize; 2],
        ends: [usize; 2],
        plans: [Plan; 2],
        path: Path,
    ) {
        let [from, to] = guests;
        if !self.guests[from].is_up() || self.guests[to].life == Life::Dead {
            return;
        }
        let Some(pair) = self.pair(guests, ends) else {
            return;
        };
        let now = self.now();
        let number = self.connections;
        self.connections += 1;
        self.report.connections += 1;
        let tcp = Connection::open_routed(path, self.random.u64(..), now, [true; 2]);
        tcp.borrow_mut().is_away[1] = !self.guests[to].is_up();
        let is_hostile = guests.iter().any(|&guest| self.guests[guest].is_hostile);
        let ledger = Ledger::new(number, guests, is_hostile);
        if guests.iter().any(|&guest| self.paused[guest] > now) {
            ledger.borrow_mut().excuse("a guest stood still");
        }
        let client = SocketAddr::new(pair.local, CLIENTS + number as u16);
        let server = SocketAddr::new(pair.remote, SERVER);
        for (side, (local, remote)) in [(client, server), (server, client)].into_iter().enumerate()
        {
            let tuple = FourTuple { local, remote };
            let (ledger, tcp) = (Rc::clone(&ledger), Rc::clone(&tcp));
            let endpoint = Endpoint::new(ledger, side, tcp, tuple, plans[side]);
            self.guests[guests[side]].endpoints.push(endpoint);
        }
        let guest = &mut self.guests[from];
        guest.greet(pair);
        guest.consider(guest.endpoints.len() - 1, &self.wires.log);
        self.flows.push(Flow {
            ledger,
            tcp,
            pair,
            due: Some(now + CONNECT),
        });
    }

    pub(super) fn frame(&mut self, guests: [usize; 2], ends: [usize; 2], len: usize) {
        let [from, to] = guests;
        let Some(pair) = self.pair(guests, ends) else {
            return;
        };
        if !self.guests[from].is_up() || self.guests[to].life == Life::Dead {
            return;
        }
        let places = &self.wires.places;
        let ends = Ends {
            macs: [
                mac(from),
                places.next_hop(&self.guests[from].addresses, pair.remote),
            ],
            addresses: [pair.local, pair.remote],
        };
        let (number, frame) = self.wires.frames.make(&ends, Cargo::Datagram, len);
        if !self.guests[from].send_frame(pair, &frame) {
            self.wires.frames.refused(number);
        }
    }

    /// Has a guest contact an address at which nobody answers: its SYNs vanish,
    /// and so do the channel's datagrams.
    pub(super) fn dial(&mut self, guest: usize, remote: IpAddr) {
        let guest = &mut self.guests[guest];
        let own = guest.addresses.iter();
        let local = own.copied().find(|own| own.is_ipv4() == remote.is_ipv4());
        if let Some(local) = local.filter(|_| guest.is_up()) {
            guest.greet(Pair { local, remote });
            guest.outputs(&mut self.wires);
        }
    }

    /// Changes an address of a guest, or takes it away.
    pub(super) fn readdress(&mut self, number: usize, slot: usize, to: Option<IpAddr>) {
        if !self.guests[number].is_up() {
            return;
        }
        let mut addresses = self.guests[number].addresses.clone();
        if to.is_some_and(|to| addresses.contains(&to)) {
            return;
        }
        if let Some(to) = to
            && let Some(owner) = self.wires.places.owner(to)
        {
            if !self.guests[owner].is_up() {
                return;
            }
            let rest = self.guests[owner].addresses.iter();
            let rest: Vec<_> = rest.copied().filter(|own| *own != to).collect();
            self.lose(owner, to);
            self.guests[owner].set_addresses(&rest, &mut self.wires);
        }
        if slot < addresses.len() {
            let old = addresses.remove(slot);
            self.lose(number, old);
        }
        if let Some(to) = to {
            addresses.insert(slot.min(addresses.len()), to);
            self.wires.places.give(to, number);
        }
        self.disturb(number, self.now());
        self.guests[number].set_addresses(&addresses, &mut self.wires);
    }

    /// A guest loses an address, and the connections over it.
    fn lose(&mut self, number: usize, address: IpAddr) {
        let now = self.now();
        self.wires.places.take(address);
        self.wires.places.changed_at = now;
        self.disturb(number, now);
        let mut lost = Vec::new();
        for flow in &self.flows {
            let Pair { local, remote } = flow.pair;
            let mut ledger = flow.ledger.borrow_mut();
            let ends = [(local, ledger.guests[0]), (remote, ledger.guests[1])];
            if let Some(side) = ends.iter().position(|end| *end == (address, number)) {
                ledger.excuse("an address was lost");
                let mut tcp = flow.tcp.borrow_mut();
                // What is sent to the address reaches nobody who knows it.
                tcp.is_gone[side] = true;
                lost.push(Rc::clone(&flow.tcp));
            }
        }
        for tcp in lost {
            for side in [0, 1] {
                let tcp = Rc::clone(&tcp);
                self.at(now + TCP_PATIENCE, Event::GiveUp { tcp, side });
            }
        }
    }
}
