//! The end of a link: what goes back to whom.

use alloc::vec::Vec;

use super::budget::Share;
use super::pages::Pages;
use super::ring::User;
use super::state::Link;
use crate::cause::Cause;
use crate::guest::Guest;
use crate::keys::ConnKey;
use crate::platform::{Platform, PortState};
use crate::wire::control::SideState;

impl<P: Platform> Link<P> {
    /// Tells the other side that this one is done. A stale link is not touched:
    /// what it mapped is no longer there.
    #[inline(never)]
    pub(crate) fn let_go(&mut self, guest: &Guest<P>, cause: Cause) {
        if guest.platform.port_state(&self.port) == PortState::Stale {
            return;
        }
        // The rings first, so that they are free when the peer hears of the end.
        let is_mapped = |memory: &Pages<P>| !memory.is_own();
        for place in &mut self.peers {
            place.take_if(|ring| ring.memory.as_ref().is_none_or(is_mapped));
        }
        for place in &mut self.own {
            place.take_if(|ring| is_mapped(&ring.memory));
        }
        if cause == Cause::Suspended {
            // The peer looks at everything that there is.
            self.set_frozen(guest.noticed, &guest.platform);
        } else {
            self.flush(&guest.platform);
            self.set_state(SideState::Closed, &guest.platform);
        }
    }

    /// Unmaps and takes back everything.
    #[inline(never)]
    pub(crate) fn dispose(self, guest: &mut Guest<P>) {
        let Self {
            memory,
            port,
            own,
            peers,
            domid,
            mapped,
            ..
        } = self;
        let share = |pages| Share::ring(domid, pages);
        for ring in peers.into_iter().flatten() {
            if let Some(Pages::Own(region)) = ring.memory {
                guest.take_back(region, share(ring.size.pages()));
            }
        }
        guest.pool.count_unmapped(share(mapped));
        drop(port);
        match memory {
            Pages::Own(region) => guest.take_back(region, Share::link(domid)),
            Pages::Peers(mapping) => {
                guest.pool.count_unmapped(Share::link(domid));
                drop(mapping);
            }
        }
        for ring in own.into_iter().flatten() {
            if let Pages::Own(region) = ring.memory {
                guest.take_back(region, share(ring.size.pages()));
            }
        }
    }

    /// Returns the connections that have rings on the link, in order. They are
    /// found by the rings: looking at every connection would touch all their
    /// pages, and in pre-copy each costs a trap.
    pub(crate) fn users(&self) -> Vec<ConnKey> {
        let own = self.own.iter().flatten().map(|ring| match ring.user {
            User::Conn(conn) => Some(conn),
            User::Idle | User::Over | User::Retiring => None,
        });
        let peers = self.peers.iter().flatten().map(|ring| ring.user);
        let mut users: Vec<ConnKey> = own.chain(peers).flatten().collect();
        users.sort_unstable();
        users.dedup();
        users
    }
}
