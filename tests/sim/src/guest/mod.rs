//! A guest: the channel, its applications' connections, and the run loop that
//! netstack puts around them.
//!
//! Read in this order: this file (the guest and its run loop), `outputs.rs` (what
//! it does for the channel), `api.rs` (what it asks of the channel, and which way
//! segments go).

mod api;
mod outputs;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use vmc::{Config, DomId, LeaveReason, LinkKey, Pair, PeerState, Platform, Vmc};

use crate::account::Account;
use crate::endpoint::{Endpoint, nanos};
use crate::frames::Frames;
use crate::log::Log;
use crate::network::{Datagram, Network};
use crate::place::{Mac, Places, mac};
use crate::xen::{Clock, Dom, Holdings};

/// State of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It was asked to suspend, and has until this time to end its links.
    Settling(u64),
    /// It is suspended.
    Suspended,
    /// It was destroyed.
    Dead,
}

/// What all guests share.
#[derive(Debug)]
pub struct Wires {
    /// The virtual clock.
    pub clock: Clock,
    /// Datagrams.
    pub network: Network,
    /// Frames in flight on links.
    pub frames: Frames,
    /// The owner of each address.
    pub places: Places,
    /// What was sent to whom.
    pub account: Account,
    /// The trace, and the first violation.
    pub log: Rc<Log>,
}

/// A link that came up, for the world to judge.
#[derive(Debug, Clone, Copy)]
pub struct Linked {
    /// When it came up; the guest may be judged later if it was kept from
    /// running.
    pub at: u64,
    /// Between which addresses.
    pub pair: Pair,
}

/// One guest.
pub struct Guest {
    /// Its number in this world.
    pub number: usize,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Addresses that its applications have contacted.
    pub greeted: BTreeSet<IpAddr>,
    /// Its state.
    pub life: Life,
    /// The channel.
    pub vmc: Vmc<Dom>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Datagrams that wait for its next turn.
    pub inbox: VecDeque<Datagram>,
    /// Its processor is busy until this time.
    pub busy_until: u64,
    /// Whether it was told that it is about to be migrated.
    pub has_notice: bool,
    /// Whether it lies.
    pub is_hostile: bool,
    /// Links that came up since the world last looked.
    pub linked: Vec<Linked>,
    /// Outputs of the channel since the world last looked.
    pub outputs_done: usize,
    random: fastrand::Rng,
}

impl Guest {
    /// Returns a guest that has booted.
    #[must_use]
    pub fn new(number: usize, addresses: Vec<IpAddr>, dom: Dom, config: Config, seed: u64) -> Self {
        let mut vmc = Vmc::new(dom, config);
        vmc.set_addresses(&addresses);
        Self {
            number,
            addresses,
            greeted: BTreeSet::new(),
            life: Life::Running,
            vmc,
            endpoints: Vec::new(),
            inbox: VecDeque::new(),
            busy_until: 0,
            has_notice: false,
            is_hostile: false,
            linked: Vec::new(),
            outputs_done: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Returns the domain that it is.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.vmc.platform().domid()
    }

    /// Whether its processor runs at all.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.life, Life::Running | Life::Settling(_))
    }

    /// Returns what it holds of the hypervisor's resources.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        self.vmc.platform().holdings()
    }

    /// Returns its Ethernet address.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        mac(self.number)
    }

    /// Returns when the channel's next timer is due.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.is_up().then(|| self.vmc.deadline().map(nanos))?
    }

    /// Returns when the next sleeping task of an application wakes up.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        let wakes = self.endpoints.iter().filter_map(Endpoint::next_wake);
        self.is_up().then(|| wakes.min())?
    }

    /// Whether it has something to do at `now`.
    #[must_use]
    pub fn wants(&self, now: u64) -> bool {
        let has_event = || self.vmc.links().any(|(_, port)| port.is_pending());
        let is_ready = |endpoint: &Endpoint| {
            endpoint.is_ready(now)
                || endpoint.has_unsent()
                || endpoint.tcp.borrow().is_woken(endpoint.side)
                || endpoint.is_gone()
        };
        self.is_up()
            && (!self.inbox.is_empty()
                || self.vmc.has_work()
                || self.deadline().is_some_and(|at| at <= now)
                || self.endpoints.iter().any(is_ready)
                || has_event())
    }

    /// Has the channel track a connection if its peer has a link, as in
    /// netstack (`Channel::consider`). Other connections follow when the link
    /// comes up.
    pub(crate) fn consider(&mut self, index: usize, log: &Log) {
        let pair = self.endpoints[index].pair();
        let is_linked = self.peer(pair) == PeerState::Linked;
        let endpoint = &mut self.endpoints[index];
        endpoint.is_considered = true;
        if is_linked {
            endpoint.track(&mut self.vmc, log);
            endpoint.send_off_network();
        }
    }

    /// Leaves its links.
    pub fn leave(&mut self, reason: LeaveReason, wires: &mut Wires) {
        wires
            .log
            .note(|| format!("g{} leaves: {reason:?}", self.number));
        self.vmc.leave(reason);
        self.outputs(wires);
    }

    /// Tells it that it is about to be migrated; it keeps its links.
    pub fn forewarn(&mut self, wires: &mut Wires) {
        wires.log.note(|| format!("g{} is forewarned", self.number));
        self.vmc.early_notice();
        self.outputs(wires);
    }

    /// Has what its peers do not take from rings go by TCP.
    pub fn send_by_tcp(&mut self, wires: &mut Wires) {
        let conns: Vec<_> = self.vmc.report().connections().collect();
        for (conn, _) in conns {
            self.vmc.send_by_tcp(conn);
        }
        self.outputs(wires);
    }

    /// Tells it that the migration was called off.
    pub fn stay(&mut self, wires: &mut Wires) {
        wires.log.note(|| format!("g{} stays", self.number));
        self.has_notice = false;
        self.vmc.withdraw_notice();
        self.outputs(wires);
    }

    /// Does the last step before a suspend.
    pub fn freeze(&mut self, wires: &mut Wires) {
        self.vmc.freeze();
        self.outputs(wires);
    }

    /// Continues after a suspend, here or elsewhere, or after a cancelled
    /// migration.
    pub fn renew(&mut self, wires: &mut Wires) {
        wires.log.note(|| format!("g{} goes on", self.number));
        self.has_notice = false;
        self.vmc.renew();
        self.outputs(wires);
    }

    /// Runs one turn of the run loop.
    pub fn turn(&mut self, wires: &mut Wires) {
        let now = wires.clock.get();
        self.events(wires);
        while let Some(datagram) = self.inbox.pop_front() {
            self.take(&datagram);
        }
        self.tcp(&wires.log, now);
        if self.vmc.has_work() || self.deadline().is_some_and(|at| at <= now) {
            self.vmc.poll();
        }
        self.outputs(wires);
        for endpoint in &mut self.endpoints {
            endpoint.run(&mut self.vmc, &mut self.random, &wires.log, now);
        }
        self.outputs(wires);
        self.send_segments(wires);
        self.forget(wires, now);
        let is_ready = self.endpoints.iter().any(|endpoint| endpoint.is_ready(now));
        if !is_ready && !self.vmc.has_work() {
            self.vmc.flush();
            self.outputs(wires);
        }
        wires.frames.check_room();
    }

    fn events(&mut self, wires: &Wires) {
        let links = self.vmc.links();
        let mut rung: Vec<LinkKey> = links
            .filter_map(|(link, port)| port.take_pending().then_some(link))
            .collect();
        self.random.shuffle(&mut rung);
        for link in rung {
            wires
                .log
                .note(|| format!("g{} is rung: {link:?}", self.number));
            self.vmc.event(link);
        }
    }

    fn tcp(&mut self, log: &Log, now: u64) {
        for index in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[index];
            if endpoint.tcp.borrow().is_woken(endpoint.side) {
                if !endpoint.is_considered {
                    // Its SYN has arrived.
                    self.consider(index, log);
                }
                self.endpoints[index].tcp_woken(&mut self.vmc, now);
            }
        }
    }

    /// Forgets connections of which nothing is left.
    fn forget(&mut self, wires: &mut Wires, now: u64) {
        let vmc = &mut self.vmc;
        self.endpoints.retain(|endpoint| {
            let is_gone = endpoint.is_gone();
            if is_gone {
                wires.log.note(|| format!("{} is gone", endpoint.name()));
                endpoint.ledger.borrow_mut().gone[endpoint.side] = true;
                endpoint.tcp.borrow_mut().orphan(endpoint.side, now);
                if let Some(id) = endpoint.id {
                    vmc.forget(id);
                }
            }
            !is_gone
        });
        self.outputs(wires);
    }
}
