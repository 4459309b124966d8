//! A guest: the channel, its applications' connections, and the run loop that
//! netstack puts around them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use vmc::{Config, LeaveReason, LinkKey, Output, Pair, PeerState, Vmc};

use crate::endpoint::{Endpoint, nanos};
use crate::frames::Frames;
use crate::log::Log;
use crate::network::{Datagram, Network};
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
    /// The trace, and the first violation.
    pub log: Rc<Log>,
}

/// A link that came up, for the world to judge.
#[derive(Debug, Clone, Copy)]
pub struct Linked {
    /// When it came up; the guest may be judged later if it was kept from
    /// running.
    pub at: u64,
    /// Address of the peer.
    pub address: IpAddr,
}

/// One guest.
pub struct Guest {
    /// Its number in this world.
    pub number: usize,
    /// Its address.
    pub address: IpAddr,
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
    random: fastrand::Rng,
}

impl Guest {
    /// Returns a guest that has booted.
    #[must_use]
    pub fn new(number: usize, address: IpAddr, dom: Dom, config: Config, seed: u64) -> Self {
        let mut vmc = Vmc::new(dom, config);
        vmc.set_addresses(&[address]);
        Self {
            number,
            address,
            life: Life::Running,
            vmc,
            endpoints: Vec::new(),
            inbox: VecDeque::new(),
            busy_until: 0,
            has_notice: false,
            is_hostile: false,
            linked: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
        }
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

    /// Returns its address with that of another guest.
    #[must_use]
    pub const fn pair(&self, remote: IpAddr) -> Pair {
        Pair {
            local: self.address,
            remote,
        }
    }

    /// Asks whether a guest lives at `address` on this host.
    pub fn greet(&mut self, address: IpAddr) {
        let pair = self.pair(address);
        self.vmc.greet(pair);
    }

    /// Has the channel track a connection if its peer has a link, as in
    /// netstack (`Channel::consider`). Other connections follow when the link
    /// comes up.
    pub(crate) fn consider(&mut self, index: usize, log: &Log) {
        let endpoint = &mut self.endpoints[index];
        endpoint.is_considered = true;
        if self.vmc.peer(endpoint.tuple.pair()) == PeerState::Linked {
            endpoint.track(&mut self.vmc, log);
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
            let pair = Pair {
                local: datagram.to,
                remote: datagram.from,
            };
            self.vmc.datagram(pair, &datagram.bytes);
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
        self.forget(wires, now);
        let is_ready = self.endpoints.iter().any(|endpoint| endpoint.is_ready(now));
        if !is_ready && !self.vmc.has_work() {
            self.vmc.flush();
            self.outputs(wires);
        }
        wires.frames.check_room(self.number);
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
    fn forget(&mut self, wires: &mut Wires, _now: u64) {
        let vmc = &mut self.vmc;
        self.endpoints.retain(|endpoint| {
            let is_gone = endpoint.is_gone();
            if is_gone {
                wires.log.note(|| format!("{} is gone", endpoint.name()));
                endpoint.ledger.borrow_mut().gone[endpoint.side] = true;
                if let Some(id) = endpoint.id {
                    vmc.forget(id);
                }
            }
            !is_gone
        });
        self.outputs(wires);
    }

    /// Carries out what the channel asks for.
    fn outputs(&mut self, wires: &mut Wires) {
        let now = wires.clock.get();
        while let Some(output) = self.vmc.output() {
            wires.log.note(|| match &output {
                Output::Frame(frame) => format!("g{}: a frame of {}", self.number, frame.len()),
                output => format!("g{}: {output:?}", self.number),
            });
            match output {
                Output::Datagram { pair, bytes } => {
                    let datagram = Datagram {
                        from: pair.local,
                        to: pair.remote,
                        bytes: bytes.to_vec(),
                    };
                    wires.network.send(now, &datagram);
                }
                Output::Frame(frame) => {
                    if !self.is_hostile
                        && let Err(what) = wires.frames.arrive(self.number, &frame)
                    {
                        wires.log.violation(|| format!("g{}: {what}", self.number));
                    }
                }
                Output::Readable(id) => self.with(id, |endpoint, _| endpoint.wake_reader()),
                Output::Writable(id) => self.with(id, |endpoint, _| endpoint.wake_writer()),
                Output::Service(id) => self.with(id, |endpoint, vmc| endpoint.advance(vmc, now)),
                Output::Failed(id) => {
                    let log = Rc::clone(&wires.log);
                    self.with(id, |endpoint, _| endpoint.failed(&log, now));
                }
                Output::LinkUp { pair } => {
                    let address = pair.remote;
                    self.linked.push(Linked { at: now, address });
                    for endpoint in &mut self.endpoints {
                        if endpoint.tuple.pair() == pair && endpoint.id.is_none() {
                            endpoint.track(&mut self.vmc, &wires.log);
                            endpoint.wake_writer();
                        }
                    }
                }
                Output::PairDown { .. }
                | Output::LinkDown { .. }
                | Output::Member(_)
                | Output::Migration { .. } => {}
            }
        }
    }

    fn with(&mut self, id: vmc::ConnKey, then: impl FnOnce(&mut Endpoint, &mut Vmc<Dom>)) {
        let mut endpoints = self.endpoints.iter_mut();
        if let Some(endpoint) = endpoints.find(|endpoint| endpoint.id == Some(id)) {
            then(endpoint, &mut self.vmc);
        }
    }
}
