//! `VMs[]`: one element per guest, looked up by its address, identified by its
//! UUID (design rule R3).
//!
//! Read in this order: this file (what is known of an address), `datagram`
//! and `discovery` (HELLO, WELCOME, REFUSED), `control` (the link region),
//! `proof` (from WELCOME to a link that is up), `link`, `memory`, `bells`
//! (notifications), `rings` and `peer_rings` (granted, mapped and kept), `homes`
//! (rings in pages of their reader), `retiring` (pages that a peer still has to give back),
//! `down` (the end of a link).

mod bells;
pub(crate) mod control;
pub(crate) mod datagram;
mod discovery;
mod down;
mod homes;
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod peer_rings;
mod proof;
pub(crate) mod resume;
pub(crate) mod retiring;
pub(crate) mod rings;

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use self::datagram::Nonce;
pub use self::link::LinkId;
use crate::limits::{ADDRESSES, IDENTITIES};
use crate::platform::{DomId, Instant, Uuid};

/// What is known of the guest at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Nothing.
    Unknown,
    /// A HELLO, or the proof, is under way.
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
    /// When the next is due, or the end of patience.
    pub(super) next: Instant,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Element {
    pub(super) asking: Option<Asking>,
    /// The link that waits for its proof.
    pub(super) candidate: Option<usize>,
    /// The link that is up.
    pub(super) link: Option<usize>,
    pub(super) remote_until: Option<Instant>,
}

impl Element {
    const fn is_in_use(&self) -> bool {
        self.asking.is_some() || self.candidate.is_some() || self.link.is_some()
    }
}

/// The paper's `VMs[]`.
#[derive(Default)]
pub(crate) struct Vms {
    elements: BTreeMap<IpAddr, Element>,
    /// Domids at which identities were last seen.
    seen: BTreeMap<Uuid, DomId>,
    /// Addresses that were asked.
    asking: usize,
}

impl Vms {
    /// The open link with the guest at an address.
    pub(crate) fn link(&self, address: IpAddr) -> Option<usize> {
        self.elements.get(&address)?.link
    }

    pub(super) fn element(&self, address: IpAddr) -> Option<&Element> {
        self.elements.get(&address)
    }

    /// The element of an address, made if there is room for one.
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

    /// Addresses that are asked, with the state of it.
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
    pub(super) fn set_remote(&mut self, address: IpAddr, until: Instant) {
        self.stop_asking(address);
        if let Some(element) = self.element_mut(address) {
            element.remote_until = Some(until);
        }
    }

    /// An address may be asked again.
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

    /// Nobody is asked any more.
    pub(crate) fn stop_asking_all(&mut self) {
        for element in self.elements.values_mut() {
            element.asking = None;
        }
        self.asking = 0;
    }

    /// The link at `index` is no more.
    pub(super) fn unlink(&mut self, address: IpAddr, index: usize) {
        if let Some(element) = self.elements.get_mut(&address) {
            if element.link == Some(index) {
                element.link = None;
            }
            if element.candidate == Some(index) {
                element.candidate = None;
            }
            if !element.is_in_use() && element.remote_until.is_none() {
                self.elements.remove(&address);
            }
        }
    }

    /// Notes where an identity lives; true where it was known elsewhere.
    pub(super) fn see(&mut self, uuid: Uuid, domid: DomId) -> bool {
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
