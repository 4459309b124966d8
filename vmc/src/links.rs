//! Links come and go: what is known of other guests, a link that is up, a link
//! that ends.

use alloc::vec::Vec;

use crate::cause::Cause;
use crate::keys::LinkKey;
use crate::link::State;
use crate::output::Output;
use crate::peers::{Discovery, PeerState};
use crate::platform::{Platform, PortState};
use crate::stream::Pair;
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
            conns: &self.conns,
        }
    }

    /// Finds out whether a Causeway of this host lives at the other end of `pair`,
    /// if that is not known: the first contact sends HELLO.
    pub fn greet(&mut self, pair: Pair) {
        self.discovery().greet(pair);
    }

    /// Returns what is known of the guest at the other end of `pair`.
    pub fn peer(&self, pair: Pair) -> PeerState {
        self.peers.state(pair, self.guest.platform.now())
    }

    /// Takes a datagram that has come in on [`PORT`](crate::wire::PORT), from that
    /// port. What did not come to one of this guest's addresses, as a broadcast, is
    /// dropped.
    pub fn datagram(&mut self, pair: Pair, bytes: &[u8]) {
        let own = self.guest.config.uuid;
        let taken = if !self.peers.is_own(pair.local) {
            false
        } else if let Some(resume) = Resume::decode(bytes) {
            resume.uuid != own && self.resumed(pair, &resume)
        } else {
            let is_own = |datagram: &Datagram| datagram.uuid == own && !datagram.is_nameless();
            let datagram = Datagram::decode(bytes).filter(|datagram| !is_own(datagram));
            datagram.is_some_and(|datagram| self.discovery().datagram(pair, &datagram))
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

    /// Both sides are proved. An older link with the same domain ends now.
    #[inline(never)]
    pub(crate) fn link_up(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        let (uuid, domid, pair) = (link.uuid, link.domid, link.pair);
        for index in 0..self.links.end() {
            let is_replaced = |old: &LinkKey| {
                let link = self.links.get(*old).filter(|link| !link.is_proving());
                *old != key && link.is_some_and(|link| link.domid == domid)
            };
            if let Some(old) = self.links.key_at(index).filter(is_replaced) {
                // It may have left in order before.
                self.read_last(old);
                self.close_link(old, Cause::Replaced);
            }
        }
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
        self.pair_up(key, pair);
        let is_known = self.peers.see(uuid, domid);
        let event = if is_known {
            MemberEvent::Arrived
        } else {
            MemberEvent::Join
        };
        self.guest.publish(key, event, uuid, pair);
    }

    /// Ends a link that was up. Connections whose bytes were on it and whose
    /// offsets are not agreed upon are lost; all others go on over TCP.
    #[inline(never)]
    pub(crate) fn close_link(&mut self, key: LinkKey, cause: Cause) {
        let Some(mut link) = self.links.remove(key) else {
            return;
        };
        let (uuid, domid, pair) = (link.uuid, link.domid, link.pair);
        let pairs = self.peers.pairs_of(key);
        for pair in &pairs {
            self.pair_down(key, *pair);
        }
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
            let mut unsettled = self.conns.retain(key, &mut link, &mut self.guest);
            if is_own {
                // After its own suspend a guest asks for rings that only the peer
                // knows.
                unsettled.extend(pairs.iter().copied());
                unsettled.sort_unstable();
                unsettled.dedup();
            }
            let until = self.guest.peer_deadline();
            for pair in unsettled {
                self.keep_unsettled(Unsettled::new(pair, domid, link.nonce_b, is_own, until));
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
            // The domain was destroyed. What it moved by rings TCP has not counted:
            // an older image of it would go on at a wrong offset.
            if port_state == PortState::Unbound && !link.peer_state().is_over() {
                for conn in self.conns.shared_on(key) {
                    self.with_flow(conn, |flow| {
                        flow.conn.is_orphan = true;
                        flow.want_service();
                    });
                }
            }
        }
        link.let_go(&self.guest, cause);
        if cause == Cause::PeerSuspended {
            self.guest.trace(pair, Phase::Frozen, link.counters.sent);
        }
        let was_told = link.peer_migrates;
        let stats = &mut self.guest.stats;
        stats.ends.count(cause);
        stats.notifications += link.counters.notifications;
        stats.suppressed += link.counters.suppressed;
        link.dispose(&mut self.guest);
        if cause.is_peer_fault() {
            for pair in pairs {
                self.discovery().set_remote(pair);
            }
        }
        let address = pair.remote;
        self.guest.outputs.push(Output::LinkDown { address, cause });
        // A suspend was cancelled while the link was being left for it, or one pair
        // of addresses has a new link and the others have not.
        if matches!(cause, Cause::Left | Cause::Replaced) && !self.guest.parted {
            let pairs: Vec<Pair> = self.conns.pairs_on(key);
            for pair in pairs {
                self.greet(pair);
            }
        }
        if cause == Cause::Gone && !self.links.any_with(domid) {
            self.guest.publish(key, MemberEvent::Gone, uuid, pair);
        }
        if cause == Cause::PeerSuspended && !was_told {
            self.guest.publish(key, MemberEvent::Migrating, uuid, pair);
        }
    }
}
