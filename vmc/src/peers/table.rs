//! What is known of the guests of this host, by the addresses between which it was
//! found out (the paper's `VMs[]`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::challenge::Challenge;
use crate::keys::LinkKey;
use crate::limits::{ADDRESSES, IDENTITIES, PAIRS, REMOTE, REMOTE_FIRST};
use crate::platform::{DomId, Instant, Uuid};
use crate::stream::Pair;
use crate::wire::datagram::{Cookie, NO_COOKIE, Nonce};

/// What is known of the guest at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Nothing.
    Unknown,
    /// A HELLO or the proof is under way.
    Asking,
    /// It is not on this host, or not a Causeway.
    Remote,
    /// It has a link, and takes it between these addresses.
    Linked,
}

/// A HELLO that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) nonce: Nonce,
    /// What the last CHALLENGE carried.
    pub(super) cookie: Cookie,
    pub(super) since: Instant,
    /// HELLOs sent.
    pub(super) sent: usize,
    /// When the next one is due, or the address counts as remote.
    pub(super) next: Instant,
    /// CHALLENGEs taken.
    pub(super) challenges: u8,
    /// Offers that could not be taken.
    pub(super) offers: usize,
    /// An offer to the peer was under way when its own came.
    pub(super) has_crossed: bool,
}

impl Asking {
    pub(super) const fn new(nonce: Nonce, now: Instant, next: Instant) -> Self {
        Self {
            nonce,
            cookie: NO_COOKIE,
            since: now,
            sent: 1,
            next,
            challenges: 0,
            offers: 0,
            has_crossed: false,
        }
    }
}

/// What is known of a pair of addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Element {
    pub(super) asking: Option<Asking>,
    /// The link that waits for its proof.
    pub(super) candidate: Option<LinkKey>,
    /// The link that is up, and that the pair was proved to belong to.
    pub(super) link: Option<LinkKey>,
    pub(super) remote_until: Option<Instant>,
    /// How long it counted as remote when it last came to nothing.
    wait: u64,
}

impl Element {
    const fn is_in_use(&self) -> bool {
        self.asking.is_some() || self.candidate.is_some() || self.link.is_some()
    }
}

/// The paper's `VMs[]`.
pub(crate) struct Peers {
    elements: BTreeMap<Pair, Element>,
    /// This guest's addresses.
    own: Vec<IpAddr>,
    /// Domids at which identities were last seen.
    seen: BTreeMap<Uuid, DomId>,
    /// Pairs that were asked.
    asking: usize,
    /// Pairs with open connections, which are greeted again.
    again: BTreeMap<Pair, Instant>,
    pub(crate) challenge: Challenge,
}

impl Peers {
    pub(crate) const fn new(challenge: Challenge) -> Self {
        Self {
            elements: BTreeMap::new(),
            own: Vec::new(),
            seen: BTreeMap::new(),
            asking: 0,
            again: BTreeMap::new(),
            challenge,
        }
    }

    /// Sets this guest's addresses; returns those that it has no longer.
    pub(crate) fn set_own(&mut self, own: &[IpAddr]) -> Vec<IpAddr> {
        let old = core::mem::replace(&mut self.own, own.to_vec());
        let is_lost = |address: &IpAddr| !own.contains(address);
        old.into_iter().filter(is_lost).collect()
    }

    /// Whether an address is this guest's.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Returns what is known of the guest at the other end of a pair.
    pub(crate) fn state(&self, pair: Pair, now: Instant) -> PeerState {
        let Some(element) = self.element(pair) else {
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

    /// Returns the link that a pair belongs to.
    pub(crate) fn link(&self, pair: Pair) -> Option<LinkKey> {
        self.elements.get(&pair)?.link
    }

    /// Returns the pairs of a link, in order.
    pub(crate) fn pairs_of(&self, link: LinkKey) -> Vec<Pair> {
        let elements = self.elements.iter();
        let of_link = elements.filter(|(_, element)| element.link == Some(link));
        of_link.map(|(pair, _)| *pair).collect()
    }

    /// Whether a link may have another pair.
    pub(crate) fn takes_pair(&self, link: LinkKey) -> bool {
        self.pairs_of(link).len() < PAIRS
    }

    /// Returns the pairs of an address of this guest.
    pub(crate) fn pairs_from(&self, local: IpAddr) -> Vec<Pair> {
        let pairs = self.elements.keys();
        pairs.filter(|pair| pair.local == local).copied().collect()
    }

    pub(super) fn element(&self, pair: Pair) -> Option<&Element> {
        self.elements.get(&pair)
    }

    /// Returns the link that waits for its proof between these addresses.
    pub(crate) fn candidate(&self, pair: Pair) -> Option<LinkKey> {
        self.element(pair)?.candidate
    }

    /// Returns the element of a pair, made if it is new and there is room.
    pub(super) fn element_mut(&mut self, pair: Pair) -> Option<&mut Element> {
        if !self.elements.contains_key(&pair) && self.elements.len() >= ADDRESSES {
            let spare = self
                .elements
                .iter()
                .find(|(_, element)| !element.is_in_use());
            let spare = *spare?.0;
            self.elements.remove(&spare);
        }
        Some(self.elements.entry(pair).or_default())
    }

    /// Begins to ask; returns whether there is room to.
    pub(super) fn ask(&mut self, pair: Pair, asking: Asking) -> bool {
        let Some(element) = self.element_mut(pair) else {
            return false;
        };
        if element.asking.replace(asking).is_none() {
            self.asking += 1;
        }
        true
    }

    /// Asks no more.
    pub(super) fn stop_asking(&mut self, pair: Pair) {
        if let Some(element) = self.elements.get_mut(&pair)
            && element.asking.take().is_some()
        {
            self.asking -= 1;
        }
    }

    /// Returns when the next HELLO is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let asked = self.asked().map(|(_, asking)| asking.next);
        asked.chain(self.again.values().copied()).min()
    }

    /// Takes a pair that is to be greeted again by now.
    pub(super) fn take_again(&mut self, now: Instant) -> Option<Pair> {
        let due = self.again.iter().find(|(_, at)| now >= **at);
        let pair = *due?.0;
        self.again.remove(&pair);
        Some(pair)
    }

    /// Whether a pair is to be greeted again.
    pub(crate) fn is_awaited(&self, pair: Pair) -> bool {
        self.again.contains_key(&pair)
    }

    /// Greets a pair no more: its connections have ended.
    pub(crate) fn await_no_more(&mut self, pair: Pair) {
        self.again.remove(&pair);
    }

    /// Returns the pairs that are asked.
    pub(super) fn asked(&self) -> impl Iterator<Item = (Pair, Asking)> {
        let elements = if self.asking > 0 {
            Some(self.elements.iter())
        } else {
            None
        };
        elements
            .into_iter()
            .flatten()
            .filter_map(|(pair, element)| Some((*pair, element.asking?)))
    }

    /// Returns the cookie that answers a HELLO of this guest, if `nonce` is that
    /// HELLO's.
    pub(crate) fn cookie_of(&self, pair: Pair, nonce: &Nonce) -> Option<Cookie> {
        let asking = self.element(pair)?.asking?;
        (asking.nonce == *nonce).then_some(asking.cookie)
    }

    /// Returns how long a guest that may have a link soon counts as remote: each time
    /// twice as long.
    pub(super) fn next_wait(&mut self, pair: Pair) -> u64 {
        let Some(element) = self.element_mut(pair) else {
            return REMOTE;
        };
        let wait = (2 * element.wait).clamp(REMOTE_FIRST, REMOTE);
        element.wait = wait;
        wait
    }

    /// Notes that the peer's offer has crossed one of this guest's; returns whether
    /// that had happened before, with the same HELLO.
    pub(super) fn note_crossed(&mut self, pair: Pair) -> bool {
        let element = self.elements.get_mut(&pair);
        let asking = element.and_then(|element| element.asking.as_mut());
        asking.is_some_and(|asking| core::mem::replace(&mut asking.has_crossed, true))
    }

    /// Notes that nobody on this host answers at an address. `again`: it is greeted
    /// when that time is over.
    pub(super) fn set_remote(&mut self, pair: Pair, until: Instant, again: bool) {
        self.stop_asking(pair);
        if let Some(element) = self.element_mut(pair) {
            element.remote_until = Some(until);
        }
        if again && self.again.len() < ADDRESSES {
            self.again.insert(pair, until);
        }
    }

    /// Allows an address to be asked again.
    pub(crate) fn forget_remote(&mut self, address: IpAddr) {
        for (pair, element) in &mut self.elements {
            if pair.remote == address {
                element.remote_until = None;
            }
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
        self.again.clear();
        for element in self.elements.values_mut() {
            element.asking = None;
        }
        self.asking = 0;
    }

    /// A pair was proved to belong to a link.
    pub(crate) fn link_up(&mut self, pair: Pair, link: LinkKey) {
        self.stop_asking(pair);
        self.again.remove(&pair);
        if let Some(element) = self.element_mut(pair) {
            if element.candidate == Some(link) {
                element.candidate = None;
            }
            element.remote_until = None;
            element.wait = 0;
            element.link = Some(link);
        }
    }

    /// Forgets that a pair belongs to a link, or waits for its proof.
    pub(crate) fn unlink(&mut self, pair: Pair, link: LinkKey) {
        if let Some(element) = self.elements.get_mut(&pair) {
            if element.link == Some(link) {
                element.link = None;
            }
            if element.candidate == Some(link) {
                element.candidate = None;
            }
            if !element.is_in_use() && element.remote_until.is_none() {
                self.elements.remove(&pair);
            }
        }
    }

    /// Forgets everything about a pair that has no link.
    pub(crate) fn forget(&mut self, pair: Pair) {
        self.stop_asking(pair);
        self.again.remove(&pair);
        self.elements.remove(&pair);
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
