//! What the actions of a scenario do to the world.

use std::net::SocketAddr;
use std::rc::Rc;

use vmc::{FourTuple, LeaveReason, Mode};

use super::{Event, Flow, MILLISECOND, SECOND, World};
use crate::endpoint::Endpoint;
use crate::guest::Life;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::scenario::{Action, Kind};
use crate::tcp::{Connection, Path};

/// Port of the servers.
const SERVER: u16 = 7;
/// First port of the clients.
const CLIENTS: u16 = 40_000;
/// How long TCP waits for a peer that does not exist.
const TCP_PATIENCE: u64 = 3 * SECOND;
/// How long a guest may take to end its links; the protocol says 500 ms.
const LEAVING: u64 = 510 * MILLISECOND;

impl World {
    pub(super) fn act(&mut self, action: &Action) {
        self.wires.log.note(|| format!("== {action:?}"));
        match *action {
            Action::Transfer {
                guests,
                plans,
                path,
            } => self.open(guests, plans, path),
            Action::Frame { guests, len } => self.frame(guests, len),
            Action::EarlyNotice(guest) => self.notice(guest),
            Action::Cancel(guest) => self.cancel(guest),
            Action::Suspend {
                guest,
                host,
                downtime,
                is_cancelled,
            } => self.suspend(guest, host, downtime, is_cancelled),
            Action::PeerDies(guest) => self.die(guest),
            Action::Restart { guest, same } => self.restart(guest, same),
            Action::Pause { guest, nanos } => self.pause(guest, nanos),
            Action::Allow { guest, limits } => {
                self.guests[guest].vmc.platform_mut().limit(limits);
            }
            Action::Weather(weather) => self.wires.network.weather = weather,
            Action::Mischief(mischief) => self.mischief(mischief),
        }
    }

    fn open(&mut self, guests: [usize; 2], plans: [Plan; 2], path: Path) {
        let [from, to] = guests;
        if !self.guests[from].is_up() || self.guests[to].life == Life::Dead {
            return;
        }
        let now = self.now();
        let number = self.connections;
        self.connections += 1;
        self.report.connections += 1;
        let tcp = Connection::open(path, self.random.u64(..), now);
        tcp.borrow_mut().is_away[1] = !self.guests[to].is_up();
        let is_hostile = guests.iter().any(|&guest| self.guests[guest].is_hostile);
        let ledger = Ledger::new(number, guests, is_hostile);
        if guests.iter().any(|&guest| self.paused[guest] > now) {
            ledger.borrow_mut().excuse("a guest stood still");
        }
        let client = SocketAddr::new(self.address(from), CLIENTS + number as u16);
        let server = SocketAddr::new(self.address(to), SERVER);
        for (side, (local, remote)) in [(client, server), (server, client)].into_iter().enumerate()
        {
            let tuple = FourTuple { local, remote };
            let (ledger, tcp) = (Rc::clone(&ledger), Rc::clone(&tcp));
            let endpoint = Endpoint::new(ledger, side, tcp, tuple, plans[side]);
            self.guests[guests[side]].endpoints.push(endpoint);
        }
        let guest = &mut self.guests[from];
        guest.greet(server.ip());
        guest.consider(guest.endpoints.len() - 1, &self.wires.log);
        self.flows.push(Flow { ledger, tcp });
    }

    fn frame(&mut self, [from, to]: [usize; 2], len: usize) {
        if !self.guests[from].is_up() {
            return;
        }
        let (source, destination) = (self.address(from), self.address(to));
        let (number, frame) = self.wires.frames.make(source, (to, destination), len);
        let pair = self.guests[from].pair(destination);
        if !self.guests[from].vmc.send_frame(pair, &frame) {
            self.wires.frames.refused(number);
        }
    }

    fn notice(&mut self, guest: usize) {
        let guest = &mut self.guests[guest];
        if guest.life == Life::Running && !guest.has_notice {
            guest.has_notice = true;
            match self.scenario.guests[guest.number].mode {
                Mode::Advance => guest.forewarn(&mut self.wires),
                _ => guest.leave(LeaveReason::Migrating, &mut self.wires),
            }
        }
    }

    fn cancel(&mut self, guest: usize) {
        let guest = &mut self.guests[guest];
        if guest.life == Life::Running && guest.has_notice {
            match self.scenario.guests[guest.number].mode {
                Mode::Advance => guest.stay(&mut self.wires),
                _ => guest.renew(&mut self.wires),
            }
        }
    }

    fn suspend(&mut self, number: usize, host: usize, downtime: u64, is_cancelled: bool) {
        if self.guests[number].life != Life::Running {
            return;
        }
        let is_original = self.scenario.guests[number].mode == Mode::Original;
        if is_original {
            self.notice(number);
        }
        let now = self.now();
        let leaving = if is_original { LEAVING } else { 0 };
        let limit = now.max(self.paused[number]) + leaving;
        self.guests[number].life = Life::Settling(limit);
        let resume = Event::Resume {
            guest: number,
            host,
            is_cancelled,
        };
        // Counted from the suspend itself, see `settle_suspends`.
        self.at(limit + downtime, resume);
    }

    /// Suspends the guests whose links have all ended.
    pub(super) fn settle_suspends(&mut self, now: u64) {
        for guest in &mut self.guests {
            let Life::Settling(limit) = guest.life else {
                continue;
            };
            let number = guest.number;
            if self.scenario.guests[number].mode == Mode::Advance && guest.busy_until <= now {
                guest.freeze(&mut self.wires);
            }
            if guest.vmc.is_alone() && guest.busy_until <= now {
                // Ends what `leave` has left.
                guest.freeze(&mut self.wires);
            }
            let log = &self.wires.log;
            if guest.vmc.is_alone() && guest.busy_until <= now {
                let holdings = guest.holdings();
                if !guest.is_hostile && (holdings.maps, holdings.ports) != (0, 0) {
                    log.violation(|| format!("g{number} is alone and holds {holdings:?}"));
                }
                log.note(|| format!("g{number} is suspended"));
                guest.life = Life::Suspended;
                guest.vmc.platform_mut().suspend();
                guest.inbox.clear();
                for endpoint in &guest.endpoints {
                    endpoint.tcp.borrow_mut().is_away[endpoint.side] = true;
                }
            } else if now >= limit && guest.busy_until <= now && !guest.wants(now) {
                log.violation(|| format!("g{number} does not come to leave its links"));
            }
        }
    }

    pub(super) fn resume(&mut self, number: usize, host: usize, is_cancelled: bool) {
        let now = self.now();
        match self.guests[number].life {
            Life::Suspended => {}
            Life::Settling(_) => {
                // Its processor did not get to it in time.
                self.at(
                    now + MILLISECOND,
                    Event::Resume {
                        guest: number,
                        host,
                        is_cancelled,
                    },
                );
                return;
            }
            Life::Running | Life::Dead => return,
        }
        let guest = &mut self.guests[number];
        guest.life = Life::Running;
        if !is_cancelled {
            guest.vmc.platform_mut().migrate(&self.hosts[host]);
            self.moved[number] = now + 2 * SECOND;
        }
        for endpoint in &guest.endpoints {
            endpoint.tcp.borrow_mut().is_away[endpoint.side] = false;
        }
        guest.renew(&mut self.wires);
    }

    /// Destroys the hostile guest. Peers that still wait for it give up, even
    /// if it has ended its own side and the bytes in flight have already
    /// arrived through a ring.
    pub(super) fn give_up_liar(&mut self) {
        let liar = self.guests.len() - 1;
        if self.guests[liar].life == Life::Dead {
            return;
        }
        let now = self.now();
        let left: Vec<_> = self
            .flows
            .iter()
            .filter_map(|flow| {
                let ledger = flow.ledger.borrow();
                let side = ledger.guests.iter().position(|&guest| guest == liar)?;
                ledger.gone[side].then(|| Event::GiveUp {
                    tcp: Rc::clone(&flow.tcp),
                    side: 1 - side,
                })
            })
            .collect();
        for give_up in left {
            self.at(now + TCP_PATIENCE, give_up);
        }
        self.die(liar);
    }

    pub(super) fn die(&mut self, number: usize) {
        let now = self.now();
        let guest = &mut self.guests[number];
        if guest.life == Life::Dead {
            return;
        }
        guest.life = Life::Dead;
        guest.inbox.clear();
        guest.vmc.platform_mut().end();
        let endpoints = std::mem::take(&mut guest.endpoints);
        self.moved[number] = now + 2 * SECOND;
        for endpoint in endpoints {
            let side = endpoint.side;
            let mut ledger = endpoint.ledger.borrow_mut();
            ledger.excuse("a guest died");
            ledger.gone[side] = true;
            endpoint.tcp.borrow_mut().is_gone[side] = true;
            let give_up = Event::GiveUp {
                tcp: Rc::clone(&endpoint.tcp),
                side: 1 - side,
            };
            drop(ledger);
            self.at(now + TCP_PATIENCE, give_up);
        }
    }

    fn restart(&mut self, number: usize, same: bool) {
        if self.guests[number].life != Life::Dead {
            return;
        }
        self.restarts += u64::from(!same);
        let host = self.random.usize(..self.hosts.len());
        self.moved[number] = self.now() + 2 * SECOND;
        self.guests[number] = self.boot(number, host, self.restarts);
    }

    fn pause(&mut self, number: usize, nanos: u64) {
        let now = self.now();
        let guest = &mut self.guests[number];
        guest.busy_until = guest.busy_until.max(now + nanos);
        // Peers wait this long for an answer; no guest leaves in `Kind::Pause`.
        let patience = match self.scenario.kind {
            Kind::Pause => 4900 * MILLISECOND,
            _ => 100 * MILLISECOND,
        };
        if nanos > patience {
            self.paused[number] = now + nanos;
            for flow in &self.flows {
                let mut ledger = flow.ledger.borrow_mut();
                if ledger.guests.contains(&number) {
                    ledger.excuse("a guest stood still");
                }
            }
        }
    }
}
