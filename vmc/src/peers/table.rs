//! What is known of the guest at an address (the paper's `VMs[]`).

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use crate::keys::LinkKey;
use crate::limits::{ADDRESSES, IDENTITIES};
use crate::platform::{DomId, Instant, Uuid};
use crate::wire::Nonce;

/// What is known of the guest at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Nothing.
    Unknown,
    /// A HELLO or the proof is under way.
    Asking,
    /// It is not on this host, or not a Causeway.
    Remote,
    /// It has a link.
    Linked,
}

/// A HELLO that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) nonce: Nonce,
    pub(super) since: Instant,
    /// HELLOs sent.
    pub(super) sent: usize,
    /// When the next one is due, or the address counts as remote.
    pub(super) next: Instant,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Element {
    pub(super) asking: Option<Asking>,
    /// The link that waits for its proof.
    pub(super) candidate: Option<LinkKey>,
    /// The link that is up.
    pub(super) link: Option<LinkKey>,
    pub(super) remote_until: Option<Instant>,
}

impl Element {
    const fn is_in_use(&self) -> bool {
        self.asking.is_some() || self.candidate.is_some() || self.link.is_some()
    }
}

/// The paper's `VMs[]`.
#[derive(Default)]
pub(crate) struct Peers {
    elements: BTreeMap<IpAddr, Element>,
    /// Domids at which identities were last seen.
    seen: BTreeMap<Uuid, DomId>,
    /// Addresses that were asked.
    asking: usize,
}

impl Peers {
    /// Returns what is known of the guest at an address.
    pub(crate) fn state(&self, address: IpAddr, now: Instant) -> PeerState {
        let Some(element) = self.element(address) else {
            return PeerState::Unknown;
        };
        if element.link.is_some() {
            PeerState::Linked
        } else if element.asking.is_some() || element.candidate.is_some() {
            PeerState::Asking
        } else if element.remote_until.is_some_and(|until| now < until) {
            PeerState::Remote
        } else {
            PeerState::Unknown
        }
    }

    /// Returns the link with the guest at an address.
    pub(crate) fn link(&self, address: IpAddr) -> Option<LinkKey> {
        self.elements.get(&address)?.link
    }

    pub(super) fn element(&self, address: IpAddr) -> Option<&Element> {
        self.elements.get(&address)
    }

    /// Returns the element of an address, made if it is new and there is room.
    pub(super) fn element_mut(&mut self, address: IpAddr) -> Option<&mut Element> {
        if !self.elements.contains_key(&address) && self.elements.len() >= ADDRESSES {
            let spare = self
                .elements
                .iter()
                .find(|(_, element)| !element.is_in_use());
            let spare = *spare?.0;
            self.elements.remove(&spare);
        }
        Some(self.elements.entry(address).or_default())
    }

    /// Begins to ask.
    pub(super) fn ask(&mut self, address: IpAddr, asking: Asking) {
        if let Some(element) = self.element_mut(address)
            && element.asking.replace(asking).is_none()
        {
            self.asking += 1;
        }
    }

    /// Asks no more.
    pub(super) fn stop_asking(&mut self, address: IpAddr) {
        if let Some(element) = self.elements.get_mut(&address)
            && element.asking.take().is_some()
        {
            self.asking -= 1;
        }
    }

    /// Returns when the next HELLO is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked().map(|(_, asking)| asking.next).min()
    }

    /// Returns the addresses that are asked.
    pub(super) fn asked(&self) -> impl Iterator<Item = (IpAddr, Asking)> {
        let elements = if self.asking > 0 {
            Some(self.elements.iter())
        } else {
            None
        };
        elements
            .into_iter()
            .flatten()
            .filter_map(|(address, element)| Some((*address, element.asking?)))
    }

    /// Notes that nobody on this host answers at an address.
    pub(crate) fn set_remote(&mut self, address: IpAddr, until: Instant) {
        self.stop_asking(address);
        if let Some(element) = self.element_mut(address) {
            element.remote_until = Some(until);
        }
    }

    /// Allows an address to be asked again.
    pub(crate) fn forget_remote(&mut self, address: IpAddr) {
        if let Some(element) = self.elements.get_mut(&address) {
            element.remote_until = None;
        }
    }

    /// Forgets what was asked and answered; links stay.
    pub(crate) fn forget_answers(&mut self) {
        self.stop_asking_all();
        self.elements.retain(|_, element| {
            element.remote_until = None;
            element.is_in_use()
        });
    }

    /// Asks nobody any more.
    pub(crate) fn stop_asking_all(&mut self) {
        for element in self.elements.values_mut() {
            element.asking = None;
        }
        self.asking = 0;
    }

    /// The link with the guest at an address is up.
    pub(crate) fn link_up(&mut self, address: IpAddr, link: LinkKey) {
        self.stop_asking(address);
        if let Some(element) = self.element_mut(address) {
            element.candidate = None;
            element.link = Some(link);
            element.remote_until = None;
        }
    }

    /// Forgets a link that has ended.
    pub(crate) fn unlink(&mut self, address: IpAddr, link: LinkKey) {
        if let Some(element) = self.elements.get_mut(&address) {
            if element.link == Some(link) {
                element.link = None;
            }
            if element.candidate == Some(link) {
                element.candidate = None;
            }
            if !element.is_in_use() && element.remote_until.is_none() {
                self.elements.remove(&address);
            }
        }
    }

    /// Notes the domid of an identity; returns whether it was known by another.
    pub(crate) fn see(&mut self, uuid: Uuid, domid: DomId) -> bool {
        if let Some(known) = self.seen.get_mut(&uuid) {
            return core::mem::replace(known, domid) != domid;
        }
        if self.seen.len() >= IDENTITIES {
            self.seen.pop_first();
        }
        self.seen.insert(uuid, domid);
        false
    }
}
