//! What must hold when the traffic has ended: an idle system is silent, and
//! a guest that leaves gives everything back.

use vmc::LeaveReason;

use super::{MILLISECOND, SECOND, World};
use crate::guest::Life;
use crate::xen::{Holdings, Limits};

/// How long after everything has ended a guest may keep something of it.
const FORGOTTEN: u64 = 620 * SECOND;

impl World {
    pub(super) fn finish(&mut self) {
        if self.wires.log.is_violated() {
            return;
        }
        self.wires.log.note(|| "== the end begins".to_owned());
        self.scenario.at_turns.clear();
        if self.scenario.is_hostile() {
            self.tamper.set(0);
            self.die(self.guests.len() - 1);
        }
        self.destroy_liar();
        for guest in &mut self.guests {
            guest.vmc.platform_mut().limit(Limits::NONE);
        }
        // Lets what is in progress end: proofs, retries, links to dead guests.
        let busy = self.guests.iter().map(|guest| guest.busy_until).max();
        let rest = busy.unwrap_or_default().saturating_sub(self.now());
        self.pass(rest + 8 * SECOND);
        if self.scenario.kind.is_wide() {
            self.pass(FORGOTTEN);
            self.keep_nothing();
        }
        self.be_idle();
        self.take_stock();
        self.part();
    }

    /// Checks that nothing is kept for anybody who is gone.
    fn keep_nothing(&self) {
        for guest in self.guests.iter().filter(|guest| guest.is_up()) {
            let says = guest.vmc.statistics();
            let (kept, pages, retiring) = (guest.kept(), says.quarantined_pages, says.retiring);
            if (kept, pages, retiring) != (0, 0, 0) {
                let log = &self.wires.log;
                let number = guest.number;
                log.violation(|| {
                    format!("g{number} still keeps {kept} links, {pages} pages, {retiring} regions")
                });
            }
        }
    }

    /// Checks that nothing is sent, and that timers are few.
    fn be_idle(&mut self) {
        const NANOS: u64 = 12 * SECOND;
        let sent = |world: &Self| {
            let hosts = world.hosts.iter();
            let notifications: u64 = hosts.map(|host| host.borrow().notifications).sum();
            (notifications, world.wires.network.sent, world.report.turns)
        };
        let before = sent(self);
        self.pass(NANOS);
        let after = sent(self);
        if (before.0, before.1) != (after.0, after.1) {
            let log = &self.wires.log;
            log.violation(|| format!("an idle system is not silent: {before:?} -> {after:?}"));
        }
        // Each link looks for a dead peer every five seconds.
        let guests = self.guests.len() as u64;
        if after.2 - before.2 > guests * guests * (NANOS / (5 * SECOND) + 1) {
            let log = &self.wires.log;
            log.violation(|| format!("an idle system does not rest: {before:?} -> {after:?}"));
        }
        for guest in self.guests.iter().filter(|guest| guest.is_up()) {
            let has_links = guest.vmc.links().next().is_some();
            if !has_links && guest.deadline().is_some_and(|at| at < self.now() + SECOND) {
                let log = &self.wires.log;
                log.violation(|| format!("g{} is alone and has a timer", guest.number));
            }
        }
    }

    fn take_stock(&mut self) {
        for guest in &self.guests {
            let statistics = guest.vmc.statistics();
            self.report.upgrades += statistics.upgrades;
            self.report.fallbacks += statistics.fallbacks;
            self.report.rehomed += statistics.rehomed;
            self.report.growths += statistics.growths;
            self.report.links += statistics.links;
            let lies = vmc::Cause::ALL
                .into_iter()
                .filter(|cause| cause.is_peer_fault());
            self.report.lies += lies.map(|cause| statistics.ended(cause)).sum::<u64>();
            if statistics.bugs > 0 {
                let log = &self.wires.log;
                log.violation(|| format!("g{} broke invariants of vmc", guest.number));
            }
        }
        let hosts = self.hosts.iter();
        self.report.notifications = hosts.map(|host| host.borrow().notifications).sum();
    }

    /// Has one guest after the other leave, and checks that it then holds
    /// nothing.
    fn part(&mut self) {
        let is_polite = self.random.u32(..4) != 0;
        for number in 0..self.guests.len() {
            if self.guests[number].life != Life::Running {
                continue;
            }
            if is_polite {
                self.guests[number].leave(LeaveReason::Shutdown, &mut self.wires);
                self.pass(510 * MILLISECOND);
                let guest = &self.guests[number];
                if !guest.vmc.is_alone() {
                    let log = &self.wires.log;
                    log.violation(|| format!("g{number} left and is not alone"));
                }
                self.holds_nothing(number);
            } else {
                self.die(number);
                self.pass(7 * SECOND);
            }
        }
        self.pass(2 * SECOND);
        for number in 0..self.guests.len() {
            if self.guests[number].is_up() {
                self.holds_nothing(number);
            }
        }
        self.report.nanos = self.now();
    }

    fn holds_nothing(&self, number: usize) {
        let holdings = self.guests[number].holdings();
        let is_clean = Holdings {
            quarantined: 0,
            ..holdings
        } == Holdings::default();
        let may_quarantine = self.scenario.is_hostile() || !self.paused.iter().all(|&at| at == 0);
        if !is_clean || holdings.quarantined > 0 && !may_quarantine {
            let log = &self.wires.log;
            log.violation(|| format!("g{number} left, and holds {holdings:?}"));
        }
    }
}
