//! Which addresses belong to guests of this host? One datagram asks (design rule
//! R1); the answer is believed once it has been proved (R2).

use core::net::IpAddr;

use super::table::{Asking, PeerState, Peers};
use crate::cause::Cause;
use crate::guest::Guest;
use crate::keys::LinkKey;
use crate::limits::{HELLO_RETRIES, HELLO_TIMEOUT, REMOTE, UNPROVED};
use crate::link::{Link, Links, Proof};
use crate::platform::{Instant, Platform};
use crate::wire::Nonce;
use crate::wire::control::Side;
use crate::wire::datagram::{Datagram, Kind, Refusal};

/// The view of what is known of other guests, and of the links with them.
pub(crate) struct Discovery<'a, P: Platform> {
    pub(crate) guest: &'a mut Guest<P>,
    pub(crate) peers: &'a mut Peers,
    pub(crate) links: &'a mut Links<P>,
}

impl<P: Platform> Discovery<'_, P> {
    /// Sends HELLO to an address of which nothing is known.
    #[inline(never)]
    pub(crate) fn greet(&mut self, address: IpAddr) {
        let now = self.guest.platform.now();
        if self.guest.parted || self.peers.state(address, now) != PeerState::Unknown {
            return;
        }
        let mut nonce = [0; 16];
        self.guest.platform.random(&mut nonce);
        self.peers.ask(
            address,
            Asking {
                nonce,
                since: now,
                sent: 1,
                next: now.after(HELLO_RETRIES[0]),
            },
        );
        self.guest.send(address, nonce, Kind::Hello);
    }

    /// Sends HELLOs that are due again, and gives addresses up.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        loop {
            let due = self.peers.asked().find(|(_, asking)| now >= asking.next);
            let Some((address, mut asking)) = due else {
                return;
            };
            if now >= asking.since.after(HELLO_TIMEOUT) {
                self.peers.set_remote(address, now.after(REMOTE));
                continue;
            }
            asking.sent += 1;
            let next = HELLO_RETRIES.get(asking.sent - 1).copied();
            asking.next = asking.since.after(next.unwrap_or(HELLO_TIMEOUT));
            self.peers.ask(address, asking);
            self.guest.send(address, asking.nonce, Kind::Hello);
        }
    }

    /// Takes a datagram; returns whether it means anything.
    pub(crate) fn datagram(&mut self, from: IpAddr, datagram: &Datagram) -> bool {
        match datagram.kind {
            Kind::Hello => {
                if let Some(answer) = self.hello(from, datagram) {
                    self.guest.send(from, datagram.nonce_a, answer);
                }
                true
            }
            Kind::Welcome {
                nonce_b,
                reference,
                port,
            } => self.welcome(from, datagram, nonce_b, reference, port),
            Kind::Refused(_) => self.refused(from, datagram.nonce_a),
        }
    }

    /// HELLO: returns the answer, if there is to be one.
    fn hello(&mut self, from: IpAddr, hello: &Datagram) -> Option<Kind> {
        if self.guest.parted {
            return Some(Kind::Refused(Refusal::Leaving));
        }
        // A domain grants nothing to itself: the other one is on another host.
        if hello.domid == self.guest.platform.domid() {
            return Some(Kind::Refused(Refusal::NotCoResident));
        }
        let element = self.peers.element(from).copied().unwrap_or_default();
        let candidate = element.candidate.and_then(|key| self.links.get(key));
        if let Some(link) = candidate {
            if link.nonce_a == hello.nonce_a && link.uuid == hello.uuid {
                return link.welcome(&self.guest.platform);
            }
            // What was offered from this address is mapped: no datagram ends that.
            if link.side == Side::Mapper {
                return None;
            }
        }
        // If both greet, the one with the greater UUID answers.
        if element.asking.is_some() && self.guest.config.uuid < hello.uuid {
            return None;
        }
        match self.offer(from, hello) {
            Ok(welcome) => welcome,
            Err(refusal) => Some(Kind::Refused(refusal)),
        }
    }

    /// Grants a region to the domain that says HELLO; returns the WELCOME.
    #[inline(never)]
    fn offer(&mut self, from: IpAddr, hello: &Datagram) -> Result<Option<Kind>, Refusal> {
        let element = self.peers.element(from);
        if let Some(old) = element.and_then(|element| element.candidate) {
            self.withdraw(old);
        }
        let max_peers = self.guest.config.max_peers;
        let Datagram { uuid, domid, .. } = *hello;
        self.links.check_room(max_peers, from, uuid, domid)?;
        if self.links.unproved() >= UNPROVED {
            return Err(Refusal::NoRoom);
        }
        let link = Link::offer(self.guest, from, hello)?;
        let key = self.insert_candidate(from, link)?;
        let link = self.links.get(key);
        Ok(link.and_then(|link| link.welcome(&self.guest.platform)))
    }

    fn insert_candidate(&mut self, from: IpAddr, link: Link<P>) -> Result<LinkKey, Refusal> {
        // `check_room` and the bound of unproved links leave room.
        let key = self.links.insert(link).ok_or(Refusal::NoRoom)?;
        self.peers.stop_asking(from);
        let Some(element) = self.peers.element_mut(from) else {
            self.withdraw(key);
            return Err(Refusal::NoRoom);
        };
        element.candidate = Some(key);
        element.remote_until = None;
        Ok(key)
    }

    #[inline(never)]
    fn welcome(
        &mut self,
        from: IpAddr,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> bool {
        let element = self.peers.element(from);
        let asked = element.and_then(|element| element.asking);
        if asked.is_none_or(|asking| asking.nonce != welcome.nonce_a) {
            // Late, repeated, or never asked for.
            return false;
        }
        if let Err(refusal) = self.accept(from, welcome, nonce_b, reference, port) {
            self.set_remote(from);
            let refused = Kind::Refused(refusal);
            self.guest.send(from, welcome.nonce_a, refused);
        }
        true
    }

    /// Maps what a WELCOME offers, and proves this side.
    fn accept(
        &mut self,
        from: IpAddr,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> Result<(), Refusal> {
        let Datagram { uuid, domid, .. } = *welcome;
        if domid == self.guest.platform.domid() {
            return Err(Refusal::NotCoResident);
        }
        let max_peers = self.guest.config.max_peers;
        self.links.check_room(max_peers, from, uuid, domid)?;
        let link = Link::accept(self.guest, from, welcome, nonce_b, reference, port)?;
        self.insert_candidate(from, link).map(drop)
    }

    fn refused(&mut self, from: IpAddr, nonce_a: Nonce) -> bool {
        let Some(element) = self.peers.element(from).copied() else {
            return false;
        };
        if element.asking.is_some_and(|asking| asking.nonce == nonce_a) {
            self.set_remote(from);
            return true;
        }
        let is_meant = |key: &LinkKey| {
            let link = self.links.get(*key);
            link.is_some_and(|link| link.nonce_a == nonce_a)
        };
        let candidate = element.candidate.filter(is_meant);
        if let Some(key) = candidate {
            self.withdraw(key);
        }
        candidate.is_some()
    }

    /// An event of a link that is not up: returns whether the other side has
    /// proved itself. A link whose proof failed is dropped.
    pub(crate) fn check_proof(&mut self, key: LinkKey) -> bool {
        let Some(link) = self.links.get_mut(key) else {
            return false;
        };
        let proof = link.check_proof(&self.guest.platform);
        if proof == Proof::Failed {
            self.withdraw(key);
        }
        proof == Proof::Given
    }

    /// The other side of a link that is not up has had its time.
    pub(crate) fn give_up_proof(&mut self, key: LinkKey, now: Instant) {
        let link = self.links.get(key);
        let mapper = link.filter(|link| link.side == Side::Mapper);
        let address = mapper.map(|link| link.address);
        self.withdraw(key);
        if let Some(address) = address {
            // A guest that offers a link and does not open it is not asked again soon.
            self.peers.set_remote(address, now.after(REMOTE));
        }
    }

    /// Assumes for a while that nobody on this host lives at an address.
    pub(crate) fn set_remote(&mut self, address: IpAddr) {
        let until = self.guest.platform.now().after(REMOTE);
        self.peers.set_remote(address, until);
    }

    /// Drops a link that was never up.
    #[inline(never)]
    pub(crate) fn withdraw(&mut self, key: LinkKey) {
        if let Some(mut link) = self.links.remove(key) {
            self.peers.unlink(link.address, key);
            link.let_go(self.guest, Cause::Left);
            link.dispose(self.guest);
        }
    }
}
