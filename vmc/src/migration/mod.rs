//! Live Migration Assistant (M6). A direction's position is its stream offset,
//! so that a hand-over needs only each receiver's confirmed offset (design rule R8).
//!
//! Read in this order: this file (the original protocol, `vmc=original`: all
//! links are left before a migration, and peers are found again after it, R12
//! and R16), `advance` (`vmc=advance`: the channel stays until the suspend, R9
//! and R10), `finish_mig` (what both sides settle afterwards, R11).

mod advance;
mod finish_mig;

pub(crate) use self::finish_mig::Pending;
use crate::channel::Vmc;
use crate::config::LeaveReason;
use crate::limits::LEAVE_TIMEOUT;
use crate::message::{Leave, Message, Reason};
use crate::output::Cause;
use crate::platform::{Instant, Platform, PortState};
use crate::publisher::MemberEvent;
use crate::vms::control::{CLOSED, FROZEN, Side};
use crate::vms::link::{Link, Phase};
use crate::vms::rings::User;

impl<P: Platform> Vmc<P> {
    /// Leaves all links. Nobody is greeted, and no HELLO answered, before
    /// [`Vmc::renew`].
    pub fn leave(&mut self, reason: LeaveReason) {
        self.parted = true;
        self.vms.stop_asking_all();
        let leave = match reason {
            LeaveReason::Shutdown => Leave::Shutdown,
            LeaveReason::Migrating => Leave::Migrating,
        };
        let now = self.platform.now();
        for index in 0..self.links.end() {
            if self.links.get(index).is_some_and(Link::is_proving) {
                // It may have proved itself, and nobody has looked.
                self.look_for_proof(index);
            }
            let Some(link) = self.links.get(index) else {
                continue;
            };
            match link.phase {
                Phase::Proving { .. } => self.withdraw(index),
                Phase::Open => {
                    self.part(index, leave, false, Cause::Left, now);
                    self.settle(index);
                }
                Phase::Leaving { .. } => {}
            }
        }
        self.flush();
    }

    /// Whether links are being left, and the other side has not answered.
    pub fn is_leaving(&self) -> bool {
        let mut links = self.links.iter();
        links.any(|(_, link)| matches!(link.phase, Phase::Leaving { .. }))
    }

    /// Whether there is no link, and nothing of a peer is mapped.
    pub fn is_alone(&self) -> bool {
        self.links.len() == 0
    }

    /// This guest has become another domain, or a suspend was cancelled: what
    /// is stale is forgotten, and the peers of its connections are greeted
    /// again, as soon as links that are being left have ended. Stream offsets
    /// stay.
    pub fn renew(&mut self) {
        for index in 0..self.links.end() {
            let link = self.links.get(index);
            let state = link.map(|link| self.platform.port_state(&link.port));
            if state == Some(PortState::Stale) {
                self.end_stale(index);
            }
        }
        self.parted = false;
        self.forewarned = false;
        let now = self.platform.now();
        self.forget_grants();
        self.trace_resumed();
        for retiring in &mut self.retiring {
            retiring.renew(now);
        }
        self.take_back_again(now);
        if self.platform.domid() != self.domid {
            self.domid = self.platform.domid();
            // Quarantine ends with the domain that was mapped.
            self.stats.quarantined_pages = 0;
        }
        self.reach_out();
    }

    /// What was asked before may have reached nobody: this guest goes on, or its
    /// network has come back. Peers are asked again for what a suspend has left
    /// open, and those of its connections are greeted.
    pub fn reach_out(&mut self) {
        if self.parted {
            return;
        }
        let now = self.platform.now();
        self.vms.forget_answers();
        self.ask_all(now);
        for at in 0..self.conns.end() {
            let peer = self.conns.get(at).filter(|conn| !conn.ended);
            if let Some(peer) = peer.map(|conn| conn.tuple.remote.ip()) {
                self.greet(peer);
            }
        }
    }

    fn end_stale(&mut self, index: usize) {
        if self.links.get(index).is_some_and(|link| link.is_proving()) {
            self.withdraw(index);
        } else {
            self.close_link(index, Cause::Renewed);
        }
    }

    /// Confirms every ring that is read on a link, and says LEAVE.
    fn part(&mut self, index: usize, leave: Leave, heard: bool, cause: Cause, now: Instant) {
        let key = self.links.key(index);
        for at in 0..self.conns.end() {
            let uses = self
                .conns
                .get(at)
                .is_some_and(|conn| conn.link == key && !conn.recver.rings.is_empty());
            if uses {
                self.confirm(at, Reason::Leaving);
            }
        }
        if let Some(link) = self.links.get_mut(index) {
            link.post(&Message::Leave(leave));
            let until = now.after(LEAVE_TIMEOUT);
            link.phase = Phase::Leaving {
                until,
                heard,
                cause,
            };
        }
    }

    /// LEAVE: the peer is going, or has heard that we are.
    pub(crate) fn peer_leaves(&mut self, index: usize, leave: Leave) -> Result<(), Cause> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        let (uuid, address) = (link.uuid, link.address);
        let cause = match leave {
            Leave::Migrating => Cause::PeerMigrating,
            _ => Cause::PeerLeft,
        };
        match &mut link.phase {
            Phase::Leaving { heard, .. } => *heard = true,
            Phase::Open if leave != Leave::Answer => {
                let now = self.platform.now();
                self.part(index, Leave::Answer, true, cause, now);
            }
            Phase::Open | Phase::Proving { .. } => return Err(Cause::BadMessage),
        }
        let event = match leave {
            Leave::Migrating => MemberEvent::Migrating,
            Leave::Shutdown | Leave::NoRoom => MemberEvent::Leave,
            Leave::Answer => return Ok(()),
        };
        self.publish(event, uuid, address, index);
        Ok(())
    }

    /// Ends a link that is being left, when both sides are ready or one has
    /// waited long enough.
    pub(crate) fn step_leave(&mut self, index: usize) {
        let Some(link) = self.links.get(index) else {
            return;
        };
        let gone = matches!(link.peer_state(), CLOSED | FROZEN);
        let Phase::Leaving {
            until,
            heard,
            cause,
        } = link.phase
        else {
            if gone {
                self.read_last(index);
                self.close_link(index, Cause::Gone);
            }
            return;
        };
        if gone {
            self.read_last(index);
            self.close_link(index, cause);
            return;
        }
        // The mapper goes first; the owner takes the region back after it.
        let unanswered = link
            .own
            .iter()
            .flatten()
            .any(|ring| matches!(ring.user, User::Conn(_)));
        let ready = heard && !unanswered && !link.outbox.is_behind() && link.side == Side::Mapper;
        if ready || self.platform.now() >= until {
            self.close_link(index, cause);
        }
    }

    /// What a peer that is gone wrote before.
    pub(crate) fn read_last(&mut self, index: usize) {
        // A ring of messages holds fewer than 4096 of them; whoever closed it
        // writes no more.
        for _ in 0..4096 / crate::limits::MESSAGES {
            self.serve_messages(index);
            if self
                .links
                .get(index)
                .is_none_or(|link| !link.more || link.fault.is_some())
            {
                return;
            }
        }
    }
}
