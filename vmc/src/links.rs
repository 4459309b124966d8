//! Links come and go: what is known of other guests, a link that is up, a link
//! that ends.

use core::net::IpAddr;

use crate::cause::Cause;
use crate::keys::LinkKey;
use crate::link::State;
use crate::output::Output;
use crate::peers::{Discovery, PeerState};
use crate::platform::{Platform, PortState};
use crate::suspend::{Phase, Unsettled};
use crate::vmc::Vmc;
use crate::wire::Message;
use crate::wire::control::SideState;
use crate::wire::datagram::Datagram;
use crate::wire::message::MemberEvent;
use crate::wire::resume::Resume;

impl<P: Platform> Vmc<P> {
    /// Lends a view of what is known of other guests.
    pub(crate) const fn discovery(&mut self) -> Discovery<'_, P> {
        Discovery {
            guest: &mut self.guest,
            peers: &mut self.peers,
            links: &mut self.links,
        }
    }

    /// Finds out whether a Causeway of this host lives at `address`, if that is
    /// not known: the first contact sends HELLO.
    pub fn greet(&mut self, address: IpAddr) {
        self.discovery().greet(address);
    }

    /// Returns what is known of the guest at `address`.
    pub fn peer(&self, address: IpAddr) -> PeerState {
        self.peers.state(address, self.guest.platform.now())
    }

    /// Takes a datagram that has come in on [`PORT`](crate::wire::PORT), from that
    /// port.
    pub fn datagram(&mut self, from: IpAddr, bytes: &[u8]) {
        let own = self.guest.config.uuid;
        let taken = if let Some(resume) = Resume::decode(bytes) {
            resume.uuid != own && self.resumed(from, &resume)
        } else {
            let datagram = Datagram::decode(bytes).filter(|datagram| datagram.uuid != own);
            datagram.is_some_and(|datagram| self.discovery().datagram(from, &datagram))
        };
        if taken {
            self.guest.stats.datagrams += 1;
        } else {
            self.guest.stats.datagrams_dropped += 1;
        }
    }

    /// An event of a link that is not up: has the other side proved itself?
    pub(crate) fn look_for_proof(&mut self, key: LinkKey) {
        if self.discovery().check_proof(key) {
            self.link_up(key);
        }
    }

    /// Whether there is no link, and nothing of a peer is mapped.
    pub fn is_alone(&self) -> bool {
        self.links.is_empty()
    }

    /// Both sides are proved. Links that this one replaces end now.
    #[inline(never)]
    pub(crate) fn link_up(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        let (uuid, domid, address) = (link.uuid, link.domid, link.address);
        for index in 0..self.links.end() {
            let is_replaced = |old: &LinkKey| {
                let link = self.links.get(*old).filter(|link| !link.is_proving());
                *old != key && link.is_some_and(|link| link.is_with(address, uuid, domid))
            };
            if let Some(old) = self.links.key_at(index).filter(is_replaced) {
                // It may have left in order before.
                self.read_last(old);
                self.close_link(old, Cause::Replaced);
            }
        }
        self.peers.link_up(address, key);
        let now = self.guest.platform.now();
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.state = State::Open;
        link.schedule_check(now);
        link.inbox.consumer.attach(&link.memory);
        match link.inbox.consumer.wait_for_data(&link.memory) {
            Ok(has_more) => link.has_more = has_more,
            Err(_) => link.fault = Some(Cause::IndexLie),
        }
        if self.guest.noticed {
            link.post(&Message::Migrating(true));
        }
        self.guest.stats.links += 1;
        self.conns.attach(&mut self.guest, key, address);
        for unsettled in &mut self.unsettled {
            unsettled.note_link(address, now);
        }
        self.retry_resume(now);
        self.guest.outputs.push(Output::LinkUp { address });
        let is_known = self.peers.see(uuid, domid);
        let event = if is_known {
            MemberEvent::Arrived
        } else {
            MemberEvent::Join
        };
        self.links
            .publish(&mut self.guest, event, uuid, address, key);
    }

    /// Ends a link that was up. Connections whose bytes were on it and whose
    /// offsets are not agreed upon are lost; all others go on over TCP.
    #[inline(never)]
    pub(crate) fn close_link(&mut self, key: LinkKey, cause: Cause) {
        let Some(mut link) = self.links.remove(key) else {
            return;
        };
        let (address, uuid, domid) = (link.address, link.uuid, link.domid);
        self.peers.unlink(address, key);
        let port_state = self.guest.platform.port_state(&link.port);
        let is_frozen = port_state != PortState::Stale && link.peer_state() == SideState::Frozen;
        let is_forgivable = cause != Cause::Suspended && !cause.is_peer_fault();
        let cause = if is_frozen && is_forgivable {
            Cause::PeerSuspended
        } else {
            cause
        };
        if matches!(cause, Cause::Suspended | Cause::PeerSuspended) {
            let is_own = cause == Cause::Suspended;
            let has_retained = self.conns.retain(key, &mut link, &mut self.guest);
            // After its own suspend a guest asks for rings that only the peer knows.
            if has_retained || is_own {
                let now = self.guest.platform.now();
                let unsettled = Unsettled::new(address, link.nonce_b, is_own, now);
                self.unsettled.push(unsettled);
            }
        } else {
            let is_over = match port_state {
                PortState::Connected => link.peer_state() == SideState::Closed,
                PortState::Unbound => true,
                PortState::Stale => false,
            };
            for conn in self.conns.users_of(key, &link) {
                let flow = self.conns.flow_over(conn, &mut link, &mut self.guest);
                if let Some(mut flow) = flow {
                    flow.detach(is_over);
                }
            }
        }
        link.let_go(&self.guest, cause);
        if cause == Cause::PeerSuspended {
            self.guest.trace(address, Phase::Frozen, link.counters.sent);
        }
        let was_told = link.peer_migrates;
        let stats = &mut self.guest.stats;
        stats.ends.count(cause);
        stats.notifications += link.counters.notifications;
        stats.suppressed += link.counters.suppressed;
        link.dispose(&mut self.guest);
        if cause.is_peer_fault() {
            self.discovery().set_remote(address);
        }
        self.guest.outputs.push(Output::LinkDown { address, cause });
        // A suspend was cancelled while the link was being left for it.
        if cause == Cause::Left && !self.guest.parted && self.conns.any_with(address) {
            self.greet(address);
        }
        let is_known = self.links.any_with(address, uuid, domid);
        if cause == Cause::Gone && !is_known {
            self.links
                .publish(&mut self.guest, MemberEvent::Gone, uuid, address, key);
        }
        if cause == Cause::PeerSuspended && !was_told {
            self.links
                .publish(&mut self.guest, MemberEvent::Migrating, uuid, address, key);
        }
    }
}
