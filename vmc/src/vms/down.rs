//! The end of a link.

use super::control::CLOSED;
use super::link::{Link, LinkMemory};
use crate::channel::Vmc;
use crate::limits::REMOTE;
use crate::output::{Cause, Output};
use crate::platform::{Platform, PortState};
use crate::publisher::MemberEvent;
use crate::vms::rings::pages;

impl<P: Platform> Vmc<P> {
    /// Ends a link that was up. Connections whose bytes were on it and whose
    /// offsets are not agreed upon are lost; all others go on over TCP.
    pub(crate) fn close_link(&mut self, index: usize, cause: Cause) {
        let Some(mut link) = self.links.remove(index) else {
            return;
        };
        let (address, uuid) = (link.address, link.uuid);
        self.vms.unlink(address, index);
        self.detach_conns(index);
        self.let_link_go(&mut link);
        self.stats.ends[cause as usize] += 1;
        self.stats.notifications += link.counters.notifications;
        self.stats.suppressed += link.counters.suppressed;
        self.dispose(link);
        if cause.is_lie() {
            let until = self.platform.now().after(REMOTE);
            self.vms.set_remote(address, until);
        }
        self.emit(Output::LinkDown { address, cause });
        let known = self.links.iter().any(|(_, link)| link.uuid == uuid);
        if cause == Cause::Gone && !known {
            self.publish(MemberEvent::Gone, uuid, address, index);
        }
    }

    /// Tells the other side that this one is done. A stale link is not touched:
    /// what it mapped is no longer there.
    pub(super) fn let_link_go(&mut self, link: &mut Link<P>) {
        if self.platform.port_state(&link.port) != PortState::Stale {
            link.flush(&self.platform);
            // Its rings first, so that they are free when it hears of the end.
            link.peers.clear();
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
        drop(peers);
        self.stats.mapped_pages = self.stats.mapped_pages.saturating_sub(mapped_pages);
        drop(port);
        match memory {
            LinkMemory::Own(region) => self.take_back(region, super::control::LINK_PAGES),
            LinkMemory::Peers(mapping) => drop(mapping),
        }
        for ring in own.into_iter().flatten() {
            self.take_back(ring.region, pages(ring.log2));
        }
    }

    /// The connections of a link that ends.
    fn detach_conns(&mut self, index: usize) {
        for at in 0..self.conns.end() {
            let Some(conn) = self.conns.get_mut(at) else {
                continue;
            };
            if conn.link != Some(index) {
                continue;
            }
            conn.link = None;
            if conn.uses_rings() {
                conn.sender.rings.clear();
                conn.recver.rings.clear();
                self.lose(at);
            }
        }
    }

    /// A link is up: its connections may use it.
    pub(super) fn attach_conns(&mut self, index: usize, address: core::net::IpAddr) {
        for at in 0..self.conns.end() {
            let Some(conn) = self.conns.get_mut(at) else {
                continue;
            };
            if conn.tuple.remote.ip() != address || conn.ended {
                continue;
            }
            conn.link = Some(index);
            self.wake_writer(at);
        }
    }
}
