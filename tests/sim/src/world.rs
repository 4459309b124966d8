//! A world of guests, and the loop that runs it on a virtual clock.
//!
//! Reading order: this file (the loop, and what quiescence means), `acts.rs`
//! (what the actions do), `address.rs` (addresses and connections),
//! `mischief.rs` (what a hostile guest does), `liar.rs` and `forger.rs` (hostile
//! domains and hosts that are no guests), `race.rs` (two processors), `judge.rs` (what must hold all the
//! time), `reach.rs` and `end.rs` (what must hold at the end).

mod acts;
mod address;
mod end;
pub(crate) mod forger;
mod judge;
mod liar;
mod mischief;
mod race;
mod reach;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use forger::Forgers;
use liar::Liar;
use vmc::{Config, DomId, Pair, Platform, Uuid};

use crate::account::Account;
use crate::frames::Frames;
use crate::guest::{Guest, Life, Wires};
use crate::ledger::SharedLedger;
use crate::log::Log;
use crate::network::{Datagram, Network};
use crate::place::{Places, is_liars};
use crate::scenario::{Action, Forgery, Kind, Scenario, Spec};
use crate::tcp;
use crate::xen::{Clock, Dom, Holdings, Host, SharedHost, Tamper};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Most turns of a run; one that takes more counts as stuck.
const TURNS: u64 = 600_000;

/// Totals of a run without violation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Turns of guests.
    pub turns: u64,
    /// Bytes that applications read.
    pub bytes: u64,
    /// Connections.
    pub connections: u64,
    /// Connections that may fail, for a known reason.
    pub excused: u64,
    /// Directions that moved to a ring.
    pub upgrades: u64,
    /// Directions that moved back to TCP.
    pub fallbacks: u64,
    /// Directions that moved to a ring in pages of their reader, or back.
    pub rehomed: u64,
    /// Directions that moved to a larger ring.
    pub growths: u64,
    /// Links that were up.
    pub links: u64,
    /// Links that were closed because the peer lied.
    pub lies: u64,
    /// Event channel notifications.
    pub notifications: u64,
    /// Virtual time, in nanoseconds.
    pub nanos: u64,
}

/// Something that happens at a given time.
#[derive(Debug, Clone)]
enum Event {
    Act(Box<Action>),
    Resume {
        guest: usize,
        host: usize,
        is_cancelled: bool,
    },
    /// A voice of the liar does its next step.
    Voice(usize),
    /// Datagrams are forged.
    Forge(Forgery),
    /// TCP gives up on a peer that is gone.
    GiveUp {
        tcp: tcp::Shared,
        side: tcp::Side,
    },
}

struct Flow {
    ledger: SharedLedger,
    tcp: tcp::Shared,
    /// Its ends, as the client sees them.
    pair: Pair,
    /// Until when it has to be established; `None` once it was.
    due: Option<u64>,
}

/// Guests, machines, and the network between them.
pub struct World {
    scenario: Scenario,
    hosts: Vec<SharedHost>,
    guests: Vec<Guest>,
    wires: Wires,
    events: BTreeMap<(u64, u64), Event>,
    event_number: u64,
    flows: Vec<Flow>,
    connections: u64,
    tamper: Rc<Tamper>,
    /// The domain that speaks in hostile sequences.
    liar: Option<Liar>,
    /// Its domid, after it was destroyed.
    liar_was: Option<DomId>,
    forgers: Forgers,
    /// Identities of the guests.
    uuids: Vec<Uuid>,
    /// By host: the guest that each domain is or was.
    domains: Vec<BTreeMap<DomId, usize>>,
    random: fastrand::Rng,
    /// Until when each guest may have links with one that has moved.
    moved: Vec<u64>,
    /// Until when each guest's processor is stopped.
    paused: Vec<u64>,
    /// When something last happened that may delay each guest's connections.
    disturbed: Vec<u64>,
    /// What each guest held when it was last judged.
    judged: Vec<Holdings>,
    restarts: u64,
    /// Steps without a turn since the clock last moved.
    stands: u32,
    report: Report,
}

impl World {
    /// Returns the world of a scenario before its first action.
    #[must_use]
    pub fn new(scenario: Scenario, is_traced: bool) -> Self {
        let seed = scenario.seed;
        let clock = Clock::default();
        clock.set(SECOND);
        let log = Rc::new(Log::new(Clock::clone(&clock), is_traced));
        let wires = Wires {
            clock,
            network: Network::new(scenario.weather, seed ^ 1),
            frames: Frames::default(),
            places: Places::new(scenario.has_proxy),
            account: Account::default(),
            log,
        };
        let count = scenario.guests.len();
        let mut world = Self {
            // All hosts use the same domids, which the channel must not
            // confuse.
            hosts: (0..scenario.hosts).map(|_| Host::new(1)).collect(),
            guests: Vec::new(),
            wires,
            events: BTreeMap::new(),
            event_number: 0,
            flows: Vec::new(),
            connections: 0,
            tamper: Tamper::new(seed ^ 2),
            liar: None,
            liar_was: None,
            forgers: Forgers::default(),
            uuids: vec![Uuid([0; 16]); count],
            domains: vec![BTreeMap::new(); scenario.hosts],
            random: fastrand::Rng::with_seed(seed ^ 3),
            moved: vec![0; count],
            paused: vec![0; count],
            disturbed: vec![0; count],
            judged: vec![Holdings::default(); count],
            restarts: 0,
            stands: 0,
            report: Report::default(),
            scenario,
        };
        for number in 0..count {
            let addresses = world.scenario.guests[number].addresses.clone();
            for &address in &addresses {
                world.wires.places.give(address, number);
            }
            let guest = world.boot(number, world.scenario.guests[number].host, 0, addresses);
            world.guests.push(guest);
        }
        if world.scenario.is_hostile() {
            world.corrupt(count - 1);
        }
        if world.scenario.kind == Kind::Liar {
            world.let_liar_in();
        }
        for (at, action) in world.scenario.actions.clone() {
            world.at(SECOND + at, Event::Act(Box::new(action)));
        }
        world
    }

    /// Boots a guest; `life` makes its UUID differ from those of its former
    /// lives.
    fn boot(&mut self, number: usize, host: usize, life: u64, addresses: Vec<IpAddr>) -> Guest {
        let Spec {
            largest_ring,
            max_rings,
            memory,
            max_peers,
            ..
        } = self.scenario.guests[number];
        let seed = self.random.u64(..);
        let dom = Dom::boot(&self.hosts[host], &self.wires.clock, seed);
        let mut uuid = [0; 16];
        // Which of two guests has the greater UUID has to vary.
        let salt = fastrand::Rng::with_seed(self.scenario.seed ^ number as u64).u8(..);
        (uuid[0], uuid[1], uuid[2], uuid[15]) = (salt, number as u8, life as u8, 1);
        let config = Config {
            uuid: Uuid(uuid),
            max_peers,
            max_rings,
            largest_ring,
            memory,
            peer_timeout: 600 * SECOND,
        };
        self.uuids[number] = config.uuid;
        let note = dom.domid();
        self.domains[host].insert(note, number);
        self.wires
            .log
            .note(|| format!("g{number} boots on host {host} as domain {note}"));
        Guest::new(number, addresses, dom, config, seed)
    }

    fn now(&self) -> u64 {
        self.wires.clock.get()
    }

    fn at(&mut self, at: u64, event: Event) {
        self.event_number += 1;
        self.events.insert((at, self.event_number), event);
    }

    /// Runs the scenario to its end.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(mut self) -> Result<Report, String> {
        self.traffic();
        self.reach_each_other();
        self.finish();
        match self.wires.log.verdict() {
            Some(violation) => Err(violation),
            None => Ok(self.report),
        }
    }

    /// Runs until all actions are done and all connections have ended.
    fn traffic(&mut self) {
        const PATIENCE: u64 = 120 * SECOND;
        const USER_TIMEOUT: u64 = 30 * SECOND;
        let last = self.scenario.actions.last().map_or(0, |(at, _)| *at);
        let start = self.now().max(SECOND + last);
        let turns = self.report.turns;
        while !(self.events.is_empty() && self.flows.is_empty()) {
            if self.wires.log.is_violated() {
                return;
            }
            // Those who stood still start late.
            let start = self
                .disturbed
                .iter()
                .fold(start, |start, at| start.max(*at));
            let end = (start + USER_TIMEOUT).max(self.now());
            if self.scenario.is_hostile() && self.next(true).is_none_or(|at| at > end) {
                // Peers that wait for a liar give up in the end.
                self.wires.clock.set(end);
                self.give_up_liar();
            }
            if self.liar.is_some() && self.events.is_empty() {
                self.hush_liar();
            }
            let is_patient = self.now() < start + PATIENCE && self.report.turns - turns < TURNS;
            if !is_patient || !self.step(self.needs_timers()) {
                self.stuck();
                return;
            }
        }
    }

    /// Whether what is lost may be sent again. Where nothing is, no wake-up may be
    /// missing. A guest without a place for a link closes it at the other, which may
    /// have sent a frame.
    fn needs_timers(&self) -> bool {
        let guests = &self.scenario.guests;
        let lacks_place = guests.iter().any(|spec| spec.max_peers + 1 < guests.len());
        self.scenario.kind != Kind::Plain || lacks_place
    }

    /// Runs for `nanos`, whatever happens.
    fn pass(&mut self, nanos: u64) {
        let end = self.now() + nanos;
        while !self.wires.log.is_violated() && self.report.turns < TURNS {
            match self.next(true) {
                Some(at) if at <= end => _ = self.step(true),
                _ => break,
            }
        }
        self.wires.clock.set(end.max(self.now()));
    }

    /// Reports connections that are left although nothing more happens.
    fn stuck(&mut self) {
        if let Some(flow) = self.flows.first() {
            let ledger = flow.ledger.borrow();
            let (count, turns) = (self.flows.len(), self.report.turns);
            self.wires.log.violation(|| {
                format!("after {turns} turns {count} connections are stuck, the first: {ledger:?}")
            });
        }
    }

    /// Runs one turn of one guest, or advances the clock; returns `false` if
    /// nothing more will happen. Without `timers`, the channel's timers do not
    /// count.
    fn step(&mut self, timers: bool) -> bool {
        let now = self.now();
        self.arrivals(now);
        self.events(now);
        self.settle_suspends(now);
        let up: Vec<_> = (0..self.guests.len())
            .filter(|&guest| self.guests[guest].busy_until <= now && self.guests[guest].wants(now))
            .collect();
        if let Some(&guest) = self.random.choice(&up) {
            self.turn(guest);
            self.stands = 0;
            return true;
        }
        match self.next(timers) {
            Some(at) if at > now => {
                self.wires.clock.set(at);
                self.stands = 0;
                true
            }
            Some(_) => {
                // The next step handles what an action has just made possible.
                self.stands += 1;
                if self.stands > 10 {
                    self.wires.log.violation(|| "time stands still".to_owned());
                }
                self.stands <= 10
            }
            None => false,
        }
    }

    fn turn(&mut self, number: usize) {
        let now = self.now();
        let cost = match self.random.u32(..20) {
            0 => self.random.u64(..500_000),
            _ => self.random.u64(200..5000),
        };
        self.report.turns += 1;
        self.act_at_turn();
        let before = self.costs(number);
        let guest = &mut self.guests[number];
        guest.turn(&mut self.wires);
        guest.busy_until = now + cost;
        if guest.deadline().is_some_and(|at| at <= now) && !guest.vmc.has_work() {
            let log = &self.wires.log;
            log.violation(|| format!("g{number}: a timer is due after it was served"));
        }
        self.judge(number);
        self.judge_costs(number, before);
    }

    fn act_at_turn(&mut self) {
        let actions = &mut self.scenario.at_turns;
        let due = actions.extract_if(.., |(turn, _)| *turn < self.report.turns);
        for action in due.map(|(_, action)| action).collect::<Vec<_>>() {
            self.act(&action);
        }
    }

    fn arrivals(&mut self, now: u64) {
        for flow in &self.flows {
            flow.tcp.borrow_mut().advance(now);
        }
        self.flows.retain(|flow| {
            flow.ledger.borrow().gone != [true; 2] || {
                self.wires
                    .log
                    .note(|| format!("{:?}", flow.ledger.borrow()));
                let settled = flow.ledger.borrow().settle();
                if let Err(what) = settled {
                    let number = flow.ledger.borrow().number;
                    self.wires.log.violation(|| format!("c{number}: {what}"));
                }
                let ledger = flow.ledger.borrow();
                self.report.bytes += ledger.read[0] + ledger.read[1];
                self.report.excused += u64::from(ledger.excuse.is_some());
                false
            }
        });
        while let Some(datagram) = self.wires.network.receive(now) {
            self.deliver(&datagram);
        }
        self.judge_connects(now);
    }

    fn deliver(&mut self, datagram: &Datagram) {
        if is_liars(datagram.to) {
            self.tell_liar(datagram);
            return;
        }
        let receivers = self.wires.places.receivers(datagram.to);
        if receivers.is_empty() {
            self.tell_forgers(datagram);
        }
        for number in receivers {
            let guest = &mut self.guests[number];
            if guest.is_up() {
                guest.inbox.push_back(datagram.clone());
                let account = &mut self.wires.account;
                account.receive(number, datagram.from, datagram.origin, datagram.bytes.len());
            }
        }
    }

    fn events(&mut self, now: u64) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Event::Act(action) => self.act(&action),
                Event::Resume {
                    guest,
                    host,
                    is_cancelled,
                } => self.resume(guest, host, is_cancelled),
                Event::Voice(index) => self.speak(index),
                Event::Forge(forgery) => self.forge(forgery),
                Event::GiveUp { tcp, side } => {
                    if !tcp.borrow().is_over(side) {
                        tcp.borrow_mut().fail(side);
                    }
                }
            }
        }
    }

    /// Returns when something happens next.
    fn next(&self, timers: bool) -> Option<u64> {
        let now = self.now();
        let guests = self.guests.iter().filter(|guest| guest.is_up());
        let guests = guests.filter_map(|guest| {
            let deadline = guest.deadline().filter(|_| timers);
            let wake = guest.next_wake().into_iter().chain(deadline).min();
            let at = if guest.wants(now) { Some(now) } else { wake };
            let settle = match guest.life {
                Life::Settling(_) if guest.vmc.is_alone() => Some(guest.busy_until),
                Life::Settling(limit) => Some(limit.max(guest.busy_until)),
                _ => None,
            };
            at.map(|at| at.max(guest.busy_until))
                .into_iter()
                .chain(settle)
                .min()
        });
        let flows = self.flows.iter();
        let tcp = flows.flat_map(|flow| {
            let tcp = flow.tcp.borrow();
            let resend = tcp.next_resend().filter(|_| timers);
            tcp.next_arrival().into_iter().chain(resend)
        });
        let events = self.events.keys().map(|(at, _)| *at);
        guests
            .chain(tcp)
            .chain(events.take(1))
            .chain(self.wires.network.next_arrival())
            .min()
    }
}
