//! The end of a link.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::control::{CLOSED, FROZEN};
use super::link::Link;
use super::memory::Pages;
use crate::channel::Vmc;
use crate::connection::{Conn, Path, Sender};
use crate::limits::REMOTE;
use crate::output::{Cause, Output, Step};
use crate::platform::{Platform, PortState};
use crate::publisher::MemberEvent;
use crate::slab::Key;
use crate::vms::rings::{User, pages};

impl<P: Platform> Vmc<P> {
    /// Ends a link that was up. Connections whose bytes were on it and whose
    /// offsets are not agreed upon are lost; all others go on over TCP.
    pub(crate) fn close_link(&mut self, index: usize, cause: Cause) {
        let key = self.links.key(index);
        let (Some(key), Some(mut link)) = (key, self.links.remove(index)) else {
            return;
        };
        let (address, uuid, domid) = (link.address, link.uuid, link.domid);
        self.vms.unlink(address, index);
        let state = self.platform.port_state(&link.port);
        let is_frozen = state != PortState::Stale && link.peer_state() == FROZEN;
        let cause = match cause {
            Cause::Suspended => cause,
            _ if is_frozen && !cause.is_lie() => Cause::PeerSuspended,
            _ => cause,
        };
        if matches!(cause, Cause::Suspended | Cause::PeerSuspended) {
            self.cast_off_conns(key, &mut link, cause);
        } else {
            let is_over = match state {
                PortState::Connected => link.peer_state() == CLOSED,
                PortState::Unbound => true,
                PortState::Stale => false,
            };
            self.detach_conns(key, &link, is_over);
        }
        self.let_link_go(&mut link, cause);
        if cause == Cause::PeerSuspended {
            self.trace_step(address, Step::Frozen, link.counters.sent);
        }
        let was_told = link.peer_migrates;
        self.stats.ends[cause as usize] += 1;
        self.stats.notifications += link.counters.notifications;
        self.stats.suppressed += link.counters.suppressed;
        self.dispose(link);
        if cause.is_lie() {
            let until = self.platform.now().after(REMOTE);
            self.vms.set_remote(address, until);
        }
        self.emit(Output::LinkDown { address, cause });
        // A suspend was cancelled while the link was being left for it.
        if cause == Cause::Left && !self.parted {
            self.greet_for_conns(address);
        }
        let mut links = self.links.iter();
        let known = links.any(|(_, link)| link.is_same(address, uuid, domid));
        drop(links);
        if cause == Cause::Gone && !known {
            self.publish(MemberEvent::Gone, uuid, address, index);
        }
        if cause == Cause::PeerSuspended && !was_told {
            self.publish(MemberEvent::Migrating, uuid, address, index);
        }
    }

    /// Tells the other side that this one is done. A stale link is not touched:
    /// what it mapped is no longer there.
    pub(super) fn let_link_go(&mut self, link: &mut Link<P>, cause: Cause) {
        if self.platform.port_state(&link.port) == PortState::Stale {
            return;
        }
        // Its rings first, so that they are free when it hears of the end.
        let is_mapped = |memory: &Pages<P>| !memory.is_own();
        for place in &mut link.peers {
            place.take_if(|ring| ring.memory.as_ref().is_none_or(is_mapped));
        }
        for place in &mut link.own {
            place.take_if(|ring| is_mapped(&ring.memory));
        }
        if cause == Cause::Suspended {
            // The peer looks at everything that there is.
            link.freeze(self.forewarned, &self.platform);
        } else {
            link.flush(&self.platform);
            link.set_state(CLOSED, &self.platform);
        }
    }

    /// Unmaps and takes back everything of a link.
    pub(super) fn dispose(&mut self, link: Link<P>) {
        let Link {
            memory,
            port,
            own,
            peers,
            mapped_pages,
            ..
        } = link;
        for ring in peers.into_iter().flatten() {
            if let Some(Pages::Own(region)) = ring.memory {
                self.take_back(region, pages(ring.log2));
            }
        }
        self.stats.mapped_pages = self.stats.mapped_pages.saturating_sub(mapped_pages);
        drop(port);
        match memory {
            Pages::Own(region) => self.take_back(region, super::control::LINK_PAGES),
            Pages::Peers(mapping) => drop(mapping),
        }
        for ring in own.into_iter().flatten() {
            if let Pages::Own(region) = ring.memory {
                self.take_back(region, pages(ring.log2));
            }
        }
    }

    /// The connections that have rings on a link that has ended. They are found
    /// by the rings: to look at every connection is to touch every page of them,
    /// and in pre-copy that is a trap for each.
    pub(crate) fn stranded(&self, key: Key, link: &Link<P>) -> Vec<usize> {
        let own = link.own.iter().flatten().map(|ring| match ring.user {
            User::Conn(at) => Some(at),
            User::Idle | User::Over | User::Retiring => None,
        });
        let peers = link.peers.iter().flatten().map(|ring| ring.user);
        let mut users: Vec<usize> = own.chain(peers).flatten().collect();
        users.sort_unstable();
        users.dedup();
        users.retain(|&at| {
            let conn = self.conns.get(at);
            conn.is_some_and(|conn| conn.link == Some(key) && conn.uses_rings())
        });
        users
    }

    /// The connections of a link that ends. `is_over`: the peer has closed it,
    /// or is dead; what it has not attached by now it will never read.
    fn detach_conns(&mut self, key: Key, link: &Link<P>, is_over: bool) {
        for at in self.stranded(key, link) {
            let Some(conn) = self.conns.get_mut(at) else {
                continue;
            };
            let is_untouched = is_over && conn.recver.rings.is_empty();
            let residue = is_untouched
                .then(|| untouched(link, &conn.sender))
                .flatten();
            conn.sender.rings.clear();
            conn.recver.rings.clear();
            if let Some(residue) = residue {
                conn.sender.residue = residue;
                conn.sender.path = Path::Residue;
                self.stats.fallbacks += 1;
                self.leave_ring(at);
            } else {
                self.lose(at);
            }
        }
    }

    /// Greets a guest that has connections with this one.
    fn greet_for_conns(&mut self, address: IpAddr) {
        let is_peer = |conn: &Conn<P>| !conn.ended && conn.tuple.remote.ip() == address;
        if self.conns.iter().any(|(_, conn)| is_peer(conn)) {
            self.greet(address);
        }
    }

    /// A link is up: its connections may use it.
    pub(super) fn attach_conns(&mut self, index: usize, address: IpAddr) {
        let key = self.links.key(index);
        for at in 0..self.conns.end() {
            let Some(conn) = self.conns.get_mut(at) else {
                continue;
            };
            if conn.tuple.remote.ip() != address || conn.ended {
                continue;
            }
            conn.link = key;
            self.wake_writer(at);
        }
    }
}

/// All that a sender has written into rings, where the peer never attached one
/// of them: as if it had confirmed them at their bases.
fn untouched<P: Platform>(link: &Link<P>, sender: &Sender) -> Option<Vec<u8>> {
    let mut residue = Vec::new();
    for number in &sender.rings {
        let ring = link.own.get(usize::from(*number))?.as_ref()?;
        let producer = &ring.producer;
        if sender.sunk || producer.consumer_state(&ring.memory).attached {
            return None;
        }
        let len = usize::try_from(producer.tail() - producer.base()).ok()?;
        let start = residue.len();
        residue.try_reserve_exact(len).ok()?;
        residue.resize(start + len, 0);
        if producer.read_back(&ring.memory, producer.base(), &mut residue[start..]) != len {
            return None;
        }
    }
    Some(residue)
}
