//! Links are left in order: LEAVE, every ring confirmed, closed by both sides
//! (docs/protocol.md, "Leaving"). Connections go on over TCP.

use crate::cause::Cause;
use crate::config::LeaveReason;
use crate::error::PeerFault;
use crate::keys::LinkKey;
use crate::limits::LEAVE_TIMEOUT;
use crate::link::{State, User};
use crate::platform::{Instant, Platform};
use crate::vmc::Vmc;
use crate::wire::Message;
use crate::wire::control::Side;
use crate::wire::message::{Leave, MemberEvent, Reason};

impl<P: Platform> Vmc<P> {
    /// Leaves all links. Nobody is greeted, and no HELLO answered, before
    /// [`Vmc::renew`].
    pub fn leave(&mut self, reason: LeaveReason) {
        self.guest.parted = true;
        self.peers.stop_asking_all();
        let leave = match reason {
            LeaveReason::Shutdown => Leave::Shutdown,
            LeaveReason::Migrating => Leave::Migrating,
        };
        let now = self.guest.platform.now();
        for index in 0..self.links.end() {
            let Some(key) = self.links.key_at(index) else {
                continue;
            };
            if self.links.get(key).is_some_and(|link| link.is_proving()) {
                // The other side may have proved itself since the last event.
                self.look_for_proof(key);
            }
            match self.links.get(key).map(|link| link.state) {
                Some(State::Proving { .. }) => self.discovery().withdraw(key),
                Some(State::Open) => {
                    self.part(key, leave, false, Cause::Left, now);
                    self.end_if_due(key);
                }
                Some(State::Leaving { .. }) | None => {}
            }
        }
        self.flush();
    }

    /// Whether links are being left, and the other side has not answered.
    pub fn is_leaving(&self) -> bool {
        let mut links = self.links.iter();
        links.any(|(_, link)| matches!(link.state, State::Leaving { .. }))
    }

    /// Confirms every ring that is read on a link, and says LEAVE.
    pub(crate) fn part(
        &mut self,
        key: LinkKey,
        leave: Leave,
        heard: bool,
        cause: Cause,
        now: Instant,
    ) {
        for index in 0..self.conns.end() {
            let reads = |conn: &_| {
                let conn = self.conns.get(*conn);
                conn.is_some_and(|conn| conn.link == Some(key) && !conn.recver.rings.is_empty())
            };
            if let Some(conn) = self.conns.key_at(index).filter(reads) {
                self.with_flow(conn, |flow| flow.confirm(Reason::Leaving));
            }
        }
        if let Some(link) = self.links.get_mut(key) {
            link.post(&Message::Leave(leave));
            link.state = State::Leaving {
                until: now.after(LEAVE_TIMEOUT),
                heard,
                cause,
            };
        }
    }

    /// LEAVE: the peer is going, or has heard that this guest is.
    pub(crate) fn peer_leaves(&mut self, key: LinkKey, leave: Leave) -> Result<(), PeerFault> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (uuid, pair) = (link.uuid, link.pair);
        let cause = match leave {
            Leave::Migrating => Cause::PeerMigrating,
            Leave::Shutdown | Leave::Answer => Cause::PeerLeft,
        };
        match &mut link.state {
            State::Leaving { heard, .. } => *heard = true,
            State::Open if leave != Leave::Answer => {
                let now = self.guest.platform.now();
                self.part(key, Leave::Answer, true, cause, now);
            }
            State::Open | State::Proving { .. } => return Err(PeerFault::Message),
        }
        let event = match leave {
            Leave::Migrating => MemberEvent::Migrating,
            Leave::Shutdown => MemberEvent::Leave,
            Leave::Answer => return Ok(()),
        };
        self.guest.publish(key, event, uuid, pair);
        Ok(())
    }

    /// Ends a link that is over: one that has a fault, one whose peer is gone,
    /// and one that is being left when both sides are ready or have waited long
    /// enough. To be called after everything that can find a reason.
    pub(crate) fn end_if_due(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        if let Some(cause) = link.fault {
            self.close_link(key, cause);
            return;
        }
        let is_gone = link.peer_state().is_over();
        let (cause, is_due) = match link.state {
            State::Leaving {
                until,
                heard,
                cause,
            } => {
                let is_answered = || {
                    let mut rings = link.own.iter().flatten();
                    !rings.any(|ring| matches!(ring.user, User::Conn(_)))
                };
                // The mapper goes first; the owner takes the region back after it.
                let is_ready = heard && is_answered() && !link.outbox.is_behind();
                let is_ready = is_ready && link.side == Side::Mapper;
                (cause, is_ready || self.guest.platform.now() >= until)
            }
            State::Proving { .. } | State::Open => (Cause::Gone, false),
        };
        if is_gone {
            self.read_last(key);
            self.close_link(key, cause);
        } else if is_due {
            self.close_link(key, cause);
        }
    }
}
