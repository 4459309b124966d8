//! `finish_mig`: after a suspend the two sides of each connection name the
//! offsets up to which they have what the other wrote, in datagrams with timers
//! of their own (design rules R11, R13); from there on they use TCP.
//!
//! The side that was suspended asks (RESUME) until it has an answer (RESUMED)
//! for every connection; the other side waits for that.

use alloc::vec::Vec;

use crate::cause::Cause;
use crate::limits::{
    DOUBT, RESUME_RETRY, RESUME_RETRY_MOST, RESUME_TIMEOUT_IDLE, UNSETTLED_OF_DOMAIN,
};
use crate::platform::{Instant, Platform, PortState};
use crate::stream::Pair;
use crate::suspend::phase::Phase;
use crate::suspend::unsettled::Unsettled;
use crate::vmc::Vmc;
use crate::wire::resume::{ENTRIES, Entry, Epoch, Resume, UNKNOWN};

impl<P: Platform> Vmc<P> {
    /// This guest goes on: as another domain, or in the old one because the
    /// suspend was cancelled. What is stale is forgotten, and the peers of its
    /// connections are greeted again, as soon as links that are being left have
    /// ended. Stream offsets stay.
    pub fn renew(&mut self) {
        for index in 0..self.links.end() {
            let Some(key) = self.links.key_at(index) else {
                continue;
            };
            let Some(link) = self.links.get(key) else {
                continue;
            };
            if self.guest.platform.port_state(&link.port) != PortState::Stale {
                continue;
            }
            if link.is_proving() {
                self.discovery().withdraw(key);
            } else {
                self.close_link(key, Cause::Renewed);
            }
        }
        if self.guest.frozen {
            self.doubt();
        }
        self.guest.parted = false;
        self.guest.frozen = false;
        self.guest.noticed = false;
        let now = self.guest.platform.now();
        for (_, conn) in self.conns.iter_mut() {
            conn.forget_stale_grants(&self.guest.platform, &mut self.guest.pool);
        }
        for unsettled in self.unsettled.iter_mut().filter(|one| one.is_own) {
            self.guest.trace(unsettled.pair, Phase::Resumed, 0);
            // However long this guest was away: the peer is asked, and it answers for
            // what it has given up.
            unsettled.until = unsettled.until.max(now.after(RESUME_TIMEOUT_IDLE));
        }
        self.guest.pool.make_due(now);
        self.guest.pool.retry(&mut self.guest.platform, now);
        self.reach_out();
    }

    /// Asks again: this guest goes on, or its network has come back, and what was
    /// asked before may have reached nobody. Peers are asked for what a suspend
    /// has left open, and those of open connections are greeted.
    pub fn reach_out(&mut self) {
        if self.guest.parted {
            return;
        }
        let now = self.guest.platform.now();
        self.peers.forget_answers();
        for unsettled in &mut self.unsettled {
            unsettled.next = now;
            unsettled.wait = RESUME_RETRY;
            let idle_until = now.after(RESUME_TIMEOUT_IDLE);
            unsettled.idle_until = unsettled.idle_until.min(idle_until);
            unsettled.doubt_until = now.after(DOUBT);
        }
        self.retry_resume(now);
        for index in 0..self.conns.end() {
            let conn = self.conns.key_at(index).and_then(|key| self.conns.get(key));
            let peer = conn.filter(|conn| !conn.ended);
            if let Some(pair) = peer.map(|conn| conn.tuple.pair()) {
                self.greet(pair);
            }
        }
    }

    /// This guest may go on from an old image of itself (`xl save -c`, then `xl
    /// restore`): each connection with a peer of a link that ended in the suspend
    /// waits until that peer has answered for it.
    fn doubt(&mut self) {
        let own = self.unsettled.iter().filter(|unsettled| unsettled.is_own);
        let own: Vec<_> = own
            .map(|unsettled| (unsettled.pair, unsettled.epoch))
            .collect();
        for (pair, epoch) in own {
            for conn in self.conns.of_pair(pair) {
                self.with_flow(conn, |flow| flow.doubt(&epoch));
            }
        }
    }

    /// Keeps what a suspend has left to settle. A domain has a bounded number of
    /// such suspends: the oldest is given up for another (design rule R18).
    pub(crate) fn keep_unsettled(&mut self, unsettled: Unsettled) {
        let domid = unsettled.domid;
        self.unsettled.push(unsettled);
        let of_domain = |unsettled: &Unsettled| unsettled.domid == domid;
        let count = self.unsettled.iter().filter(|one| of_domain(one)).count();
        if count > UNSETTLED_OF_DOMAIN
            && let Some(oldest) = self.unsettled.iter().position(of_domain)
        {
            let Unsettled { pair, epoch, .. } = self.unsettled.remove(oldest);
            self.give_up(pair, &epoch);
        }
    }

    fn give_up(&mut self, pair: Pair, epoch: &Epoch) {
        for conn in self.conns.unsettled(pair, epoch) {
            self.with_flow(conn, |flow| flow.give_up(epoch));
        }
    }

    /// Forgets suspends of peers that leave nothing to settle: their connections
    /// have ended.
    fn drop_settled(&mut self) {
        let conns = &self.conns;
        self.unsettled
            .retain(|one| one.is_own || !conns.unsettled(one.pair, &one.epoch).is_empty());
    }

    /// Sends RESUMEs that are due, and gives up what has waited too long.
    #[inline(never)]
    pub(crate) fn retry_resume(&mut self, now: Instant) {
        if self.guest.frozen {
            return;
        }
        if core::mem::take(&mut self.guest.has_let_go) {
            self.drop_settled();
        }
        let mut position = 0;
        while let Some(unsettled) = self.unsettled.get_mut(position) {
            if now < unsettled.next {
                position += 1;
                continue;
            }
            let (pair, epoch) = (unsettled.pair, unsettled.epoch);
            let until = unsettled.until;
            let is_over = unsettled.heard || now >= unsettled.idle_until;
            let is_trusted = now >= unsettled.doubt_until;
            unsettled.next = now.after(unsettled.wait).min(until);
            unsettled.wait = (2 * unsettled.wait).min(RESUME_RETRY_MOST);
            let open = self.conns.unsettled(pair, &epoch);
            if open.is_empty() && is_over || now >= until {
                self.unsettled.remove(position);
                self.give_up(pair, &epoch);
                continue;
            }
            if is_trusted {
                for conn in &open {
                    self.with_flow(*conn, |flow| flow.trust(true));
                }
            }
            let entries: Vec<Entry> = open
                .iter()
                .filter_map(|conn| self.conns.entry(*conn))
                .collect();
            if entries.is_empty() {
                // It says that this guest goes on.
                self.guest.send_resume(pair, &epoch, false, &[]);
            }
            for some in entries.chunks(ENTRIES) {
                self.guest.send_resume(pair, &epoch, false, some);
            }
            position += 1;
        }
    }

    /// A guest that speaks of an old link has no new one, unless it is late: the
    /// domain of a link that is up may have been destroyed a moment ago.
    fn check_other_link(&mut self, pair: Pair, epoch: &Epoch) {
        let Some(key) = self.peers.link(pair) else {
            return;
        };
        let is_dead = self.links.get(key).is_some_and(|link| {
            link.nonce_b != *epoch
                && self.guest.platform.port_state(&link.port) == PortState::Unbound
        });
        if is_dead {
            self.read_last(key);
            self.close_link(key, Cause::Gone);
        }
    }

    /// RESUME or RESUMED has come; returns whether it means anything.
    #[inline(never)]
    pub(crate) fn resumed(&mut self, pair: Pair, resume: &Resume<'_>) -> bool {
        if self.guest.frozen {
            // The peer asks again, or is asked again.
            return false;
        }
        let is_known = |unsettled: &Unsettled| unsettled.epoch == resume.epoch;
        let now = self.guest.platform.now();
        if !self.unsettled.iter().any(is_known)
            && self.links.of_epoch(&resume.epoch).is_none()
            && !self.peers.challenge.may_challenge(pair.remote, now)
        {
            return false;
        }
        if let Some((key, link)) = self.links.of_epoch(&resume.epoch) {
            if !link.has_gone(&self.guest.platform) {
                return false;
            }
            self.read_last(key);
            self.close_link(key, Cause::PeerSuspended);
        }
        self.check_other_link(pair, &resume.epoch);
        let mut answers = Vec::new();
        for entry in resume.entries() {
            let tuple = entry.tuple.flipped();
            if tuple.pair() != pair {
                self.guest.note_wrong_address();
                continue;
            }
            let conn = self.conns.find(&tuple);
            if let Some(conn) = conn {
                let (offset, heard) = (entry.offset, entry.heard);
                self.with_flow(conn, |flow| flow.settle(&resume.epoch, offset, heard));
            }
            let answer = conn.and_then(|conn| self.conns.entry(conn));
            answers.push(answer.unwrap_or(Entry {
                tuple,
                offset: UNKNOWN,
                heard: 0,
            }));
        }
        let is_unsettled = !self.conns.unsettled(pair, &resume.epoch).is_empty();
        let mut of_link = self.unsettled.iter_mut();
        let of_link =
            of_link.find(|unsettled| unsettled.epoch == resume.epoch && unsettled.pair == pair);
        if let Some(unsettled) = of_link {
            // A RESUME that does not name all: the peer is asked.
            if !resume.is_answer || !is_unsettled {
                unsettled.next = now;
            }
            unsettled.heard = true;
        }
        // The peer goes on: it is asked between the other addresses, too. It may have
        // frozen before it knew that they belong to the link.
        for other in &mut self.unsettled {
            if other.epoch == resume.epoch {
                other.begin_to_ask(now);
            }
        }
        if !resume.is_answer {
            self.guest.send_resume(pair, &resume.epoch, true, &answers);
        }
        self.retry_resume(now);
        true
    }
}
