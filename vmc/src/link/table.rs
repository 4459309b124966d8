//! All links.

use core::ops::{Deref, DerefMut};

use super::pages::Pages;
use super::ring::User;
use super::state::{Link, State};
use crate::keys::{LinkKey, Slab};
use crate::membership::News;
use crate::platform::{DomId, Instant, Platform};
use crate::wire::control::Side;
use crate::wire::datagram::{Datagram, Refusal};
use crate::wire::resume::Epoch;

/// The links with the guests of this host.
pub(crate) struct Links<P: Platform>(Slab<LinkKey, Link<P>>);

impl<P: Platform> Deref for Links<P> {
    type Target = Slab<LinkKey, Link<P>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<P: Platform> DerefMut for Links<P> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<P: Platform> Links<P> {
    pub(crate) const fn new(bound: usize) -> Self {
        Self(Slab::new(bound))
    }

    /// Checks that there may be a link with a domain, beside those with others.
    pub(crate) fn check_room(&self, max_peers: usize, domid: DomId) -> Result<(), Refusal> {
        let links = self.0.iter();
        let others = links.filter(|(_, link)| !link.is_proving() && link.domid != domid);
        if others.count() < max_peers {
            Ok(())
        } else {
            Err(Refusal::NoRoom)
        }
    }

    /// Returns the link that is up and has this nonce B.
    pub(crate) fn of_epoch(&self, epoch: &Epoch) -> Option<(LinkKey, &Link<P>)> {
        let mut links = self.0.iter();
        links.find(|(_, link)| link.nonce_b == *epoch && !link.is_proving())
    }

    /// Returns the links of which this guest is at `side`, and that wait for their
    /// proof.
    fn proving(&self, side: Side) -> impl Iterator<Item = (LinkKey, Instant)> {
        self.0
            .iter()
            .filter_map(move |(key, link)| match link.state {
                State::Proving { until } if link.side == side => Some((key, until)),
                State::Proving { .. } | State::Open | State::Leaving { .. } => None,
            })
    }

    /// Returns the link that waits for its proof and is with the guest that sent a
    /// datagram, as far as that can be said: on another host there is a domain of the
    /// same number.
    pub(crate) fn proving_with(&self, side: Side, datagram: &Datagram) -> Option<LinkKey> {
        let Datagram { uuid, domid, .. } = *datagram;
        let mut links = self.0.iter();
        let is_it = |link: &Link<P>| {
            link.is_proving() && link.side == side && link.domid == domid && link.uuid == uuid
        };
        links.find(|(_, link)| is_it(link)).map(|(key, _)| key)
    }

    /// Returns how many links wait for their proof.
    pub(crate) fn unproved(&self, side: Side) -> usize {
        self.proving(side).count()
    }

    /// Returns the link that has waited longest for its proof.
    pub(crate) fn oldest_unproved(&self, side: Side) -> Option<LinkKey> {
        let oldest = self.proving(side).min_by_key(|(_, until)| *until);
        oldest.map(|(key, _)| key)
    }

    /// Whether a link with this domain is there, proved or not.
    pub(crate) fn any_with(&self, domid: DomId) -> bool {
        let mut links = self.0.iter();
        links.any(|(_, link)| link.domid == domid)
    }

    /// Returns the link with a domain, if it is up and the domain lives.
    pub(crate) fn standing(&mut self, platform: &P, domid: DomId) -> Option<&mut Link<P>> {
        let mut links = self.0.iter_mut();
        let link = links.find(|(_, link)| link.is_open() && link.domid == domid);
        let link = link.map(|(_, link)| link);
        link.filter(|link| link.fault.is_none() && !link.has_gone(platform))
    }

    /// Takes an idle ring back, of any link, so that there is room the next time.
    pub(crate) fn reclaim(&mut self) {
        let mut links = self.0.iter_mut();
        links.any(|(_, link)| link.reclaim());
    }

    /// Tells the peers what is new of other guests (M5, design rule R14). One that
    /// is behind does not hear of it.
    pub(crate) fn tell(&mut self, news: &mut News) {
        while let Some(item) = news.pop() {
            for (key, link) in self.0.iter_mut() {
                if key != item.from && link.is_open() {
                    link.post_if_room(&item.message());
                }
            }
        }
    }

    /// Returns the memory of all rings that connections use.
    pub(crate) fn rings_in_use(&self) -> impl Iterator<Item = &Pages<P>> {
        self.0.iter().flat_map(|(_, link)| {
            let own = link.own.iter().flatten();
            let own = own.filter(|ring| matches!(ring.user, User::Conn(_)));
            let peers = link.peers.iter().flatten();
            let peers = peers.filter(|ring| ring.user.is_some());
            own.map(|ring| &ring.memory)
                .chain(peers.filter_map(|ring| ring.memory.as_ref()))
        })
    }
}
