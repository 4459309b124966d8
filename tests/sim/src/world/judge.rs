//! What must hold all the time.

use std::rc::Rc;

use super::liar::LIAR;
use super::{SECOND, World};
use crate::guest::Life;
use crate::place::is_liars;
use crate::scenario::Kind;
use crate::xen::PAGE;

/// How long a connection between two guests that run takes to be established,
/// at most, whatever happened before: 5 s until a link with a dead guest is found
/// out, and TCP's next attempt.
pub(super) const CONNECT: u64 = 15 * SECOND;

/// Pages of a link region.
const LINK_PAGES: usize = 9;
/// Link regions for one domain: one that stands, offers that wait for their proof,
/// and links that have ended and that it still maps.
const LINKS: usize = 1 + 8 + 4;
/// Event channels with one domain: its link, and offers that wait for their proof.
const PORTS: usize = 9;
/// Links of one domain that are kept until they are settled.
const KEPT: usize = 64;
/// What one turn asks of netstack.
const OUTPUTS: usize = 4096;
/// Hypercalls of one turn.
const CALLS: u64 = 4096;

impl World {
    /// Checks what must hold after every turn.
    pub(super) fn judge(&mut self, number: usize) {
        let guest = &mut self.guests[number];
        let host = Rc::clone(guest.vmc.platform().host());
        for linked in std::mem::take(&mut guest.linked) {
            let peers = self.wires.places.owners_ever(linked.pair.remote);
            let is_near = peers.iter().any(|&peer| {
                let other = self.guests[peer].vmc.platform().host();
                Rc::ptr_eq(&host, other) || linked.at < self.moved[peer].max(self.moved[number])
            });
            let is_liar = is_liars(linked.pair.remote) && self.liar.is_some();
            if !is_near && !is_liar {
                let log = &self.wires.log;
                log.violation(|| format!("g{number} has a link with {}", linked.pair.remote));
            }
        }
        let guest = &self.guests[number];
        let (holds, says) = (guest.holdings(), guest.vmc.statistics());
        let granted = holds.grants;
        if !guest.is_hostile && (granted, holds.maps) != (says.granted_pages, says.mapped_pages) {
            let log = &self.wires.log;
            log.violation(|| format!("g{number} holds {holds:?} and counts {says:?}"));
        }
    }

    /// Checks that connections between honest guests that can reach each other
    /// are established in time.
    pub(super) fn judge_connects(&mut self, now: u64) {
        for flow in &mut self.flows {
            let Some(due) = flow.due else {
                continue;
            };
            let ledger = flow.ledger.borrow();
            let tcp = flow.tcp.borrow();
            if tcp.is_established(0) || tcp.is_over(0) || ledger.excuse.is_some() {
                flow.due = None;
                continue;
            }
            if now <= due {
                continue;
            }
            let guests = ledger.guests.iter();
            let is_up = |guest: &usize| self.guests[*guest].life == Life::Running;
            let disturbed = guests.clone().map(|guest| self.disturbed[*guest]).max();
            let since = disturbed.unwrap_or_default().max(due - CONNECT);
            if !guests.clone().all(is_up) || since + CONNECT >= now {
                flow.due = Some(since.max(now) + CONNECT);
                continue;
            }
            let log = &self.wires.log;
            let (number, pair) = (ledger.number, flow.pair);
            log.violation(|| format!("c{number} ({pair:?}) is not established in time"));
        }
    }

    /// Returns what a guest's turns have cost so far, if that is judged.
    pub(super) fn costs(&self, number: usize) -> Option<u64> {
        if !matches!(self.scenario.kind, Kind::Liar | Kind::Forged) {
            return None;
        }
        let host = self.guests[number].vmc.platform().host();
        Some(host.borrow().calls)
    }

    /// Checks after a turn that a hostile domain costs a guest no more than its
    /// share, and that only those who have shown where they are cost anything.
    pub(super) fn judge_costs(&mut self, number: usize, before: Option<u64>) {
        let Some(before) = before else {
            return;
        };
        let guest = &mut self.guests[number];
        let outputs = std::mem::take(&mut guest.outputs_done);
        let guest = &self.guests[number];
        let log = &self.wires.log;
        let domid = guest.domid();
        let host = guest.vmc.platform().host().borrow();
        let calls = host.calls - before;
        if outputs > OUTPUTS || calls > CALLS {
            log.violation(|| format!("g{number}: a turn had {outputs} outputs, {calls} calls"));
        }
        let spec = &self.scenario.guests[number];
        let links = guest.vmc.report().links().count();
        if links > spec.max_peers + 1 {
            log.violation(|| format!("g{number} has {links} links of {}", spec.max_peers));
        }
        if let Some(liar) = &self.liar {
            let shares = host.shares(domid, liar.domid());
            let most = spec.memory / PAGE / 2 + LINKS * LINK_PAGES;
            let granted = shares.grants + shares.quarantined;
            if granted > most || shares.maps > most || shares.ports > PORTS {
                log.violation(|| {
                    format!("g{number}: the liar has {shares:?}, of {most} pages, {PORTS} ports")
                });
            }
            let kept = guest.kept();
            if kept > KEPT {
                log.violation(|| format!("g{number} keeps {kept} links of the liar's"));
            }
        }
        let holds = host.holdings(domid);
        if self.judged[number] == holds {
            return;
        }
        for trusted in host.trusted(domid) {
            let who = match (&self.liar, self.liar_was) {
                (Some(liar), _) if liar.domid() == trusted => Some(LIAR),
                (None, Some(was)) if was == trusted => Some(LIAR),
                _ => self.domains[self.host_of(number)].get(&trusted).copied(),
            };
            let is_known = who.is_some_and(|who| {
                let account = &self.wires.account;
                account.has_contact(number, who)
            });
            if !is_known {
                log.violation(|| {
                    format!("g{number} grants to domain {trusted} ({who:?}), which it never met")
                });
            }
        }
        drop(host);
        self.judged[number] = holds;
    }

    fn host_of(&self, number: usize) -> usize {
        let host = self.guests[number].vmc.platform().host();
        let mut hosts = self.hosts.iter();
        hosts.position(|other| Rc::ptr_eq(host, other)).unwrap_or(0)
    }
}
