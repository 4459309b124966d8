//! All links.

use core::net::IpAddr;
use core::ops::{Deref, DerefMut};

use super::pages::Pages;
use super::ring::User;
use super::state::Link;
use crate::guest::Guest;
use crate::keys::{LinkKey, Slab};
use crate::membership::Membership;
use crate::output::Output;
use crate::platform::{DomId, Platform, Uuid};
use crate::wire::Message;
use crate::wire::datagram::Refusal;
use crate::wire::message::MemberEvent;
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

    /// Checks that there may be another link, not counting those that it would
    /// replace.
    pub(crate) fn check_room(
        &self,
        max_peers: usize,
        address: IpAddr,
        uuid: Uuid,
        domid: DomId,
    ) -> Result<(), Refusal> {
        let others = self
            .0
            .iter()
            .filter(|(_, link)| !link.is_proving() && !link.is_with(address, uuid, domid));
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

    /// Returns how many links wait for their proof.
    pub(crate) fn unproved(&self) -> usize {
        self.0.iter().filter(|(_, link)| link.is_proving()).count()
    }

    /// Whether a link with this guest is there, proved or not.
    pub(crate) fn any_with(&self, address: IpAddr, uuid: Uuid, domid: DomId) -> bool {
        let mut links = self.0.iter();
        links.any(|(_, link)| link.is_with(address, uuid, domid))
    }

    /// Takes an idle ring back, of any link, so that there is room the next time.
    pub(crate) fn reclaim(&mut self) {
        let mut links = self.0.iter_mut();
        links.any(|(_, link)| link.reclaim());
    }

    /// Tells the user, and the peers of all links but `except` (M5, design rule
    /// R14).
    pub(crate) fn publish(
        &mut self,
        guest: &mut Guest<P>,
        event: MemberEvent,
        uuid: Uuid,
        address: IpAddr,
        except: LinkKey,
    ) {
        guest.outputs.push_if_room(Output::Member(Membership {
            event,
            uuid,
            address,
            hearsay: false,
        }));
        for (key, link) in self.0.iter_mut() {
            if key != except && link.is_open() {
                link.post(&Message::Member {
                    event,
                    uuid,
                    address,
                });
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
