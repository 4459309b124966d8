//! What the actions of a scenario do to the world.

use std::rc::Rc;

use vmc::{LeaveReason, Mode};

use super::{Event, MILLISECOND, SECOND, World};
use crate::guest::Life;
use crate::scenario::{Action, Kind};

/// How long TCP waits for a peer that does not exist.
pub(super) const TCP_PATIENCE: u64 = 3 * SECOND;
/// How long peers keep what belongs to a suspended guest, less some seconds.
const PEER_TIMEOUT: u64 = 590 * SECOND;
/// How long a guest may take to end its links; the protocol says 500 ms.
const LEAVING: u64 = 510 * MILLISECOND;

impl World {
    pub(super) fn act(&mut self, action: &Action) {
        self.wires.log.note(|| format!("== {action:?}"));
        match *action {
            Action::Transfer {
                guests,
                ends,
                plans,
                path,
            } => self.open(guests, ends, plans, path),
            Action::Frame { guests, ends, len } => self.frame(guests, ends, len),
            Action::Dial { guest, to } => self.dial(guest, to),
            Action::Readdress { guest, slot, to } => self.readdress(guest, slot, to),
            Action::SendByTcp(guest) => {
                let guest = &mut self.guests[guest];
                if guest.life == Life::Running {
                    guest.send_by_tcp(&mut self.wires);
                }
            }
            Action::EarlyNotice(guest) => self.notice(guest),
            Action::Cancel(guest) => self.cancel(guest),
            Action::Suspend {
                guest,
                host,
                downtime,
                is_cancelled,
            } => self.suspend(guest, host, downtime, is_cancelled),
            Action::Race {
                guest,
                host,
                downtime,
                other,
                access,
                is_suspended,
            } => {
                self.race([guest, other], access.into(), is_suspended);
                self.suspend(guest, host, downtime, false);
                if is_suspended {
                    self.suspend(other, host, downtime, false);
                }
            }
            Action::PeerDies(guest) => self.die(guest),
            Action::Restart { guest, same } => self.restart(guest, same),
            Action::Pause { guest, nanos } => self.pause(guest, nanos),
            Action::Allow { guest, limits } => {
                self.guests[guest].vmc.platform_mut().limit(limits);
            }
            Action::Weather(weather) => self.wires.network.weather = weather,
            Action::Mischief(mischief) => self.mischief(mischief),
            Action::Forge(forgery) => self.forge(forgery),
            Action::Lie {
                victim,
                slot,
                ref program,
                times,
            } => self.lie(victim, slot, program, times),
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
        self.disturb(number, limit + downtime);
        if downtime > PEER_TIMEOUT {
            self.excuse(number, "a guest was away for too long");
        }
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
        self.disturb(number, now);
        let guest = &mut self.guests[number];
        guest.life = Life::Running;
        if !is_cancelled {
            guest.vmc.platform_mut().migrate(&self.hosts[host]);
            self.domains[host].insert(guest.domid(), number);
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
            endpoint.tcp.borrow_mut().bury(side);
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
        let addresses = self.guests[number].addresses.clone();
        self.guests[number] = self.boot(number, host, self.restarts, addresses);
    }

    fn pause(&mut self, number: usize, nanos: u64) {
        let now = self.now();
        let guest = &mut self.guests[number];
        guest.busy_until = guest.busy_until.max(now + nanos);
        let until = guest.busy_until;
        self.disturb(number, until);
        // Peers wait this long for an answer, where no guest leaves.
        let patience = match self.scenario.kind {
            Kind::Pause | Kind::Liar | Kind::Forged => 4900 * MILLISECOND,
            _ => 100 * MILLISECOND,
        };
        if nanos > patience {
            self.paused[number] = now + nanos;
            self.excuse(number, "a guest stood still");
        }
    }

    /// Notes that something delays a guest's connections until `at`.
    pub(super) fn disturb(&mut self, number: usize, at: u64) {
        let until = &mut self.disturbed[number];
        *until = at.max(*until);
    }

    /// Excuses the failure of every connection of a guest.
    fn excuse(&self, number: usize, reason: &'static str) {
        for flow in &self.flows {
            let mut ledger = flow.ledger.borrow_mut();
            if ledger.guests.contains(&number) {
                ledger.excuse(reason);
            }
        }
    }
}
