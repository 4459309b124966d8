//! `keep_con_with_migration`: the notice that this guest is to be migrated does
//! not cut its connections. What it writes moves to pages of its peers (design
//! rule R9), and little is left to unmap at the suspend.

use crate::keys::{ConnKey, LinkKey};
use crate::limits::{ASKED, TRIM_AFTER};
use crate::platform::{Instant, Platform};
use crate::suspend::phase::Phase;
use crate::vmc::Vmc;
use crate::wire::message::MemberEvent;
use crate::wire::{Message, RingSize};

impl<P: Platform> Vmc<P> {
    /// The early notice: from now on what this guest writes belongs into pages
    /// of its peers, where it is neither dirtied nor sent.
    pub fn early_notice(&mut self) {
        if !core::mem::replace(&mut self.guest.noticed, true) {
            self.tell_migrating(true);
        }
    }

    /// The notice was withdrawn: what this guest writes moves back to its own
    /// pages.
    pub fn withdraw_notice(&mut self) {
        if !core::mem::replace(&mut self.guest.noticed, false) {
            return;
        }
        for (_, link) in self.links.iter_mut() {
            if link.is_open() {
                link.peer_has_no_room = false;
                link.trim_at = None;
                link.retire_idle();
            }
        }
        self.tell_migrating(false);
    }

    fn tell_migrating(&mut self, migrates: bool) {
        for index in 0..self.links.end() {
            let Some(key) = self.links.key_at(index) else {
                continue;
            };
            let link = self.links.get_mut(key).filter(|link| link.is_open());
            if let Some(link) = link {
                link.post(&Message::Migrating(migrates));
                link.is_rehomed = !migrates;
                if migrates {
                    let (pair, bytes) = (link.pair, link.counters.sent);
                    self.guest.trace(pair, Phase::EarlyNotice, bytes);
                }
                self.rehome(key);
            }
        }
        self.flush();
    }

    /// MIGRATING: the peer is about to migrate, or no longer. What is written to
    /// it moves out of its pages, or back.
    pub(crate) fn peer_migrates(&mut self, key: LinkKey, migrates: bool) {
        let now = self.guest.platform.now();
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if core::mem::replace(&mut link.peer_migrates, migrates) == migrates {
            return;
        }
        link.schedule_check(now);
        let (uuid, pair) = (link.uuid, link.pair);
        if link.in_migration(self.guest.noticed) && link.is_open() {
            link.retire_idle();
        }
        self.rehome(key);
        let event = if migrates {
            MemberEvent::Migrating
        } else {
            MemberEvent::Join
        };
        self.guest.publish(key, event, uuid, pair);
    }

    /// Moves the senders of a link to rings where they belong, as far as there
    /// are any; asks for those that are missing.
    pub(crate) fn rehome(&mut self, key: LinkKey) {
        let noticed = self.guest.noticed;
        let Some(link) = self.links.get(key).filter(|link| link.is_open()) else {
            return;
        };
        let to_peer = link.wants_peer_pages(noticed);
        if !(to_peer || link.in_migration(noticed) || link.writes_to_peer_pages()) {
            return;
        }
        let mut missing = heapless::Vec::<RingSize, ASKED>::new();
        for index in 0..self.conns.end() {
            let is_on_link = |conn: &ConnKey| {
                let conn = self.conns.get(*conn);
                conn.is_some_and(|conn| conn.link == Some(key))
            };
            let Some(conn) = self.conns.key_at(index).filter(is_on_link) else {
                continue;
            };
            let left = self.with_flow(conn, |flow| flow.rehome());
            // It does not overflow: see the bound of the loop.
            missing.extend(left.flatten());
            if missing.is_full() {
                break;
            }
        }
        if !to_peer {
            return;
        }
        if let Some(link) = self.links.get_mut(key) {
            link.ask_for(&self.guest, &missing);
            let is_moving = self.conns.any_sender_in_own_pages(key, link);
            let is_done = missing.is_empty() && !is_moving;
            if is_done && !core::mem::replace(&mut link.is_rehomed, true) {
                let (pair, bytes) = (link.pair, link.counters.sent);
                self.guest.trace(pair, Phase::Rehomed, bytes);
            }
        }
    }

    /// While this guest is to migrate: connections without traffic go back to
    /// TCP, so that nothing of theirs has to be unmapped at the suspend; those
    /// with traffic move to pages of the peer.
    pub(crate) fn trim(&mut self, key: LinkKey, now: Instant) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if !link.is_open() || link.used + link.idle.len() == 0 {
            link.trim_at = None;
            return;
        }
        match link.trim_at {
            Some(at) if now >= at => {}
            Some(_) => return,
            None => {
                link.trim_at = Some(now.after(TRIM_AFTER));
                return;
            }
        }
        link.trim_at = None;
        link.retire_idle();
        self.rehome(key);
        for index in 0..self.conns.end() {
            let Some(key_of_conn) = self.conns.key_at(index) else {
                continue;
            };
            let Some(conn) = self.conns.get_mut(key_of_conn) else {
                continue;
            };
            if conn.link == Some(key) && !conn.check_traffic() && conn.uses_rings() {
                self.with_flow(key_of_conn, |flow| flow.fall_back());
            }
        }
    }
}
