//! Whatever happened, in the end all honest guests that can reach each other do:
//! by TCP, and those of one host by a link.

use std::rc::Rc;

use vmc::{Pair, PeerState};

use super::{SECOND, World};
use crate::guest::Life;
use crate::plan::Plan;
use crate::scenario::Kind;
use crate::tcp::Path;

impl World {
    /// Opens a connection between every two guests, and checks that each pair of
    /// one host has a link.
    pub(super) fn reach_each_other(&mut self) {
        let patience = match self.scenario.kind {
            // Nobody else decides whom a guest takes for remote.
            Kind::Forged | Kind::Liar => SECOND,
            Kind::Addresses | Kind::Long | Kind::Evacuation => 61 * SECOND,
            _ => return,
        };
        self.wires.log.note(|| "== all reach each other".to_owned());
        let busy = self.guests.iter().map(|guest| guest.busy_until).max();
        let rest = busy.unwrap_or_default().saturating_sub(self.now());
        self.pass(rest + patience);
        let mut pairs = Vec::new();
        for from in 0..self.guests.len() {
            for to in 0..self.guests.len() {
                let both = [from, to].map(|guest| &self.guests[guest]);
                let is_up = |guest: &&crate::guest::Guest| guest.life == Life::Running;
                if from < to && both.iter().all(is_up) {
                    self.open([from, to], [0, 0], [Plan::stream(3000); 2], Path::NEAR);
                    if let Some(pair) = self.pair([from, to], [0, 0]) {
                        pairs.push(([from, to], pair));
                    }
                }
            }
        }
        self.traffic();
        self.pass(3 * SECOND);
        for (guests, pair) in pairs {
            self.are_linked(guests, pair);
        }
    }

    fn are_linked(&self, [from, to]: [usize; 2], pair: Pair) {
        let host = |guest: usize| self.guests[guest].vmc.platform().host();
        if !Rc::ptr_eq(host(from), host(to)) || self.wires.log.is_violated() {
            return;
        }
        let back = Pair {
            local: pair.remote,
            remote: pair.local,
        };
        for (guest, pair) in [(from, pair), (to, back)] {
            let state = self.guests[guest].peer(pair);
            if state != PeerState::Linked {
                self.wires.log.violation(|| {
                    format!("g{guest} has no link for {pair:?} in the end: {state:?}")
                });
            }
        }
    }
}
