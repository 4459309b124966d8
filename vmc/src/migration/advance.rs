//! `keep_con_with_migration`: a notice that this guest is to be migrated does
//! not cut its connections. What it writes moves to pages of its peers (design
//! rule R9), and at the suspend it waits for nobody (R10).

use core::net::IpAddr;

use crate::channel::Vmc;
use crate::connection::{Fin, Path};
use crate::limits::LEAN_AFTER;
use crate::message::{Message, Reason};
use crate::output::{Cause, Output, Step};
use crate::platform::{Instant, Platform};
use crate::publisher::MemberEvent;
use crate::vms::link::{Link, Phase};

impl<P: Platform> Vmc<P> {
    /// The early notice: from now on what this guest writes is to lie in pages
    /// of its peers, where it is neither dirtied nor sent.
    pub fn forewarn(&mut self) {
        if !core::mem::replace(&mut self.forewarned, true) {
            self.tell_migrating(true);
        }
    }

    /// The notice was withdrawn: what this guest writes moves back to its own
    /// pages.
    pub fn stay(&mut self) {
        if !core::mem::replace(&mut self.forewarned, false) {
            return;
        }
        for (_, link) in self.links.iter_mut() {
            if link.is_open() {
                link.homeless = false;
                link.is_lean = link.peer_migrates;
                link.lean_at = None;
                link.retire_idle();
            }
        }
        self.tell_migrating(false);
    }

    /// Tells how far the hand-over of a link has come.
    pub(crate) fn trace(&mut self, index: usize, step: Step) {
        if let Some(link) = self.links.get(index) {
            let (address, bytes) = (link.address, link.counters.sent);
            self.trace_step(address, step, bytes);
        }
    }

    pub(crate) fn trace_step(&mut self, address: IpAddr, step: Step, bytes: u64) {
        let at = self.platform.now();
        self.output_if_room(Output::Handover {
            address,
            step,
            bytes,
            at,
        });
    }

    fn tell_migrating(&mut self, migrates: bool) {
        for index in 0..self.links.end() {
            let link = self.links.get_mut(index).filter(|link| link.is_open());
            if let Some(link) = link {
                link.post(&Message::Migrating(migrates));
                link.is_rehomed = !migrates;
                link.is_lean = migrates || link.peer_migrates;
                if migrates {
                    self.trace(index, Step::Notice);
                }
                self.go_home(index);
            }
        }
        self.flush();
    }

    /// MIGRATING: the peer is about to migrate, or no longer. What is written
    /// to it moves out of its pages.
    pub(crate) fn peer_migrates(&mut self, index: usize, migrates: bool) {
        let now = self.platform.now();
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        if core::mem::replace(&mut link.peer_migrates, migrates) == migrates {
            return;
        }
        link.look_at = link.next_look(now);
        let (uuid, address) = (link.uuid, link.address);
        link.is_lean = migrates || self.forewarned;
        if link.is_lean && link.is_open() {
            link.retire_idle();
        }
        self.go_home(index);
        let event = if migrates {
            MemberEvent::Migrating
        } else {
            MemberEvent::Join
        };
        self.publish(event, uuid, address, index);
    }

    /// While this guest is forewarned: connections without traffic go back to
    /// TCP, so that nothing of theirs has to be unmapped at the suspend; those
    /// with traffic move to pages of the peer.
    pub(crate) fn keep_lean(&mut self, index: usize, now: Instant) {
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        if !link.is_open() || link.used + link.idle.len() == 0 {
            link.lean_at = None;
            return;
        }
        match link.lean_at {
            Some(at) if now >= at => {}
            Some(_) => return,
            None => {
                link.lean_at = Some(now.after(LEAN_AFTER));
                return;
            }
        }
        link.lean_at = None;
        link.retire_idle();
        self.go_home(index);
        let key = self.links.key(index);
        for at in 0..self.conns.end() {
            let Some(conn) = self.conns.get_mut(at) else {
                continue;
            };
            if conn.link != key {
                continue;
            }
            if !conn.look() && conn.uses_rings() {
                if !conn.recver.rings.is_empty() {
                    self.confirm(at, Reason::Fallback);
                }
                self.ask_back(index, at);
            }
        }
    }

    /// FALLBACK: the writer of a connection goes back to TCP.
    fn ask_back(&mut self, index: usize, at: usize) {
        let (Some(conn), Some(link)) = (self.conns.get_mut(at), self.links.get_mut(index)) else {
            return;
        };
        let sender = &mut conn.sender;
        let &[own] = sender.rings.as_slice() else {
            return;
        };
        if sender.path == Path::Ring && sender.fin == Fin::Open && !sender.sunk {
            sender.path = Path::Unconfirmed;
            link.post(&Message::Fallback {
                own,
                reason: Reason::Fallback,
            });
        }
    }

    /// The suspend: every link ends where it stands, and nobody is awaited.
    /// Nothing of a peer is mapped afterwards. What is not settled between the
    /// two sides of a connection is settled after [`Vmc::renew`].
    pub fn freeze(&mut self) {
        self.parted = true;
        self.vms.stop_asking_all();
        for index in 0..self.links.end() {
            match self.links.get(index).map(|link: &Link<P>| link.phase) {
                None => {}
                Some(Phase::Proving { .. }) => self.withdraw(index),
                Some(Phase::Open | Phase::Leaving { .. }) => {
                    // What is said already is known on this side, too.
                    self.read_last(index);
                    self.trace(index, Step::Frozen);
                    self.close_link(index, Cause::Suspended);
                }
            }
        }
    }
}
