//! Which addresses belong to guests of this host? One datagram asks (design rule
//! R1); the answer is believed once it has been proved (R2). Nobody who has not
//! shown that he receives at his address is given anything (R17).

use super::table::{Asking, PeerState, Peers};
use crate::cause::Cause;
use crate::flow::Conns;
use crate::guest::Guest;
use crate::keys::LinkKey;
use crate::limits::{CHALLENGES_TAKEN, HELLO_RETRIES, HELLO_TIMEOUT, REMOTE, UNPROVED};
use crate::link::{Link, Links, Proof};
use crate::platform::{Instant, Platform};
use crate::stream::Pair;
use crate::wire::control::Side;
use crate::wire::datagram::{Cookie, Datagram, Kind, Refusal};
use crate::wire::{Message, Nonce};

/// The view of what is known of other guests, and of the links with them.
pub(crate) struct Discovery<'a, P: Platform> {
    pub(crate) guest: &'a mut Guest<P>,
    pub(crate) peers: &'a mut Peers,
    pub(crate) links: &'a mut Links<P>,
    pub(crate) conns: &'a Conns<P>,
}

impl<P: Platform> Discovery<'_, P> {
    /// Sends HELLO to an address of which nothing is known.
    #[inline(never)]
    pub(crate) fn greet(&mut self, pair: Pair) {
        let now = self.guest.platform.now();
        if self.peers.state(pair, now) != PeerState::Unknown {
            return;
        }
        if let Some(asking) = self.begin_to_ask(pair, now) {
            self.say_hello(pair, &asking);
        }
    }

    /// Begins to ask. The first HELLO that is sent of itself is the second one.
    fn begin_to_ask(&mut self, pair: Pair, now: Instant) -> Option<Asking> {
        if self.guest.parted || !self.peers.is_own(pair.local) {
            return None;
        }
        let mut nonce = [0; 16];
        self.guest.platform.random(&mut nonce);
        let asking = Asking::new(nonce, now, now.after(HELLO_RETRIES[0]));
        self.peers.ask(pair, asking).then_some(asking)
    }

    fn say_hello(&mut self, pair: Pair, asking: &Asking) {
        let cookie = asking.cookie;
        self.guest.send(pair, asking.nonce, Kind::Hello { cookie });
    }

    /// Sends HELLOs that are due again, and gives addresses up for a while.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        while let Some(pair) = self.peers.take_again(now) {
            self.greet(pair);
        }
        loop {
            let due = self.peers.asked().find(|(_, asking)| now >= asking.next);
            let Some((pair, mut asking)) = due else {
                return;
            };
            if now >= asking.since.after(HELLO_TIMEOUT) {
                self.set_remote(pair);
                continue;
            }
            asking.sent += 1;
            let next = HELLO_RETRIES.get(asking.sent - 1).copied();
            asking.next = asking.since.after(next.unwrap_or(HELLO_TIMEOUT));
            self.peers.ask(pair, asking);
            self.say_hello(pair, &asking);
        }
    }

    /// Takes a datagram; returns whether it means anything.
    pub(crate) fn datagram(&mut self, pair: Pair, datagram: &Datagram) -> bool {
        match datagram.kind {
            Kind::Hello { cookie } => {
                if let Some(answer) = self.hello(pair, datagram, &cookie) {
                    self.guest.send(pair, datagram.nonce_a, answer);
                }
                true
            }
            Kind::Challenge { cookie } => self.challenged(pair, datagram.nonce_a, cookie),
            Kind::Welcome {
                nonce_b,
                reference,
                port,
            } => self.welcome(pair, datagram, nonce_b, reference, port),
            Kind::Refused(refusal) => self.refused(pair, datagram.nonce_a, refusal),
        }
    }

    /// HELLO: returns the answer, if there is to be one.
    fn hello(&mut self, pair: Pair, hello: &Datagram, cookie: &Cookie) -> Option<Kind> {
        let now = self.guest.platform.now();
        let element = self.peers.element(pair).copied().unwrap_or_default();
        // If both greet, the one with the greater UUID answers.
        if element.asking.is_some() && self.guest.config.uuid < hello.uuid {
            return None;
        }
        let challenge = &mut self.peers.challenge;
        if !challenge.is_answered(pair, hello, cookie, now) {
            if challenge.may_challenge(pair.remote, now) {
                let cookie = challenge.cookie(pair, hello, now);
                self.guest.challenge(pair, hello.nonce_a, cookie);
            }
            return None;
        }
        if !challenge.may_answer(pair.remote, now) {
            return None;
        }
        if self.guest.parted {
            return Some(Kind::Refused(Refusal::Leaving));
        }
        // A domain grants nothing to itself: the other one is on another host.
        if hello.domid == self.guest.platform.domid() {
            return Some(Kind::Refused(Refusal::NotCoResident));
        }
        let candidate = element.candidate.and_then(|key| self.links.get(key));
        let is_mapper = candidate.is_some_and(|link| link.side == Side::Mapper);
        let is_offered = || self.links.proving_with(Side::Mapper, hello).is_some();
        // What was offered from this address, or by this domain, is mapped: no datagram
        // ends that. HELLO is repeated.
        if is_mapper || is_offered() {
            return None;
        }
        if let Some(link) = self.links.standing(&self.guest.platform, hello.domid) {
            if link.uuid != hello.uuid {
                return Some(Kind::Refused(Refusal::NotCoResident));
            }
            // A link joins two guests: if this one is the peer's, it has another
            // address, and proves it there.
            link.post_if_room(&Message::Address {
                pair,
                nonce_a: hello.nonce_a,
            });
            return None;
        }
        let candidate = element.candidate.and_then(|key| self.links.get(key));
        if let Some(link) = candidate
            && link.nonce_a == hello.nonce_a
            && link.uuid == hello.uuid
        {
            return link.welcome(&self.guest.platform);
        }
        match self.offer(pair, hello) {
            Ok(welcome) => welcome,
            Err(refusal) => Some(Kind::Refused(refusal)),
        }
    }

    /// CHALLENGE: the same HELLO goes out with the cookie.
    fn challenged(&mut self, pair: Pair, nonce_a: Nonce, cookie: Cookie) -> bool {
        let asking = self.peers.element(pair).and_then(|element| element.asking);
        let Some(mut asking) = asking.filter(|asking| asking.nonce == nonce_a) else {
            return false;
        };
        if asking.challenges >= CHALLENGES_TAKEN {
            return false;
        }
        asking.challenges += 1;
        asking.cookie = cookie;
        self.peers.ask(pair, asking);
        self.say_hello(pair, &asking);
        true
    }

    /// Grants a region to the domain that says HELLO; returns the WELCOME.
    #[inline(never)]
    fn offer(&mut self, pair: Pair, hello: &Datagram) -> Result<Option<Kind>, Refusal> {
        if let Some(old) = self.peers.candidate(pair) {
            self.withdraw(old);
        }
        self.links
            .check_room(self.guest.config.max_peers, hello.domid)?;
        if self.links.unproved(Side::Owner) >= UNPROVED
            && let Some(oldest) = self.links.oldest_unproved(Side::Owner)
        {
            // An honest guest proves itself at once: it is long done with.
            self.withdraw(oldest);
        }
        let link = Link::offer(self.guest, pair, hello)?;
        let key = self.insert_candidate(pair, link)?;
        let link = self.links.get(key);
        Ok(link.and_then(|link| link.welcome(&self.guest.platform)))
    }

    fn insert_candidate(&mut self, pair: Pair, link: Link<P>) -> Result<LinkKey, Refusal> {
        let key = match self.links.insert(link) {
            Ok(key) => key,
            Err(link) => {
                self.dispose(link);
                return Err(Refusal::NoRoom);
            }
        };
        self.peers.stop_asking(pair);
        let Some(element) = self.peers.element_mut(pair) else {
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
        pair: Pair,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> bool {
        let element = self.peers.element(pair);
        let asked = element.and_then(|element| element.asking);
        if asked.is_none_or(|asking| asking.nonce != welcome.nonce_a) {
            // Late, repeated, or never asked for.
            return false;
        }
        let standing = self
            .links
            .standing(&self.guest.platform, welcome.domid)
            .map(|link| link.uuid);
        let has_link = standing == Some(welcome.uuid)
            || self.links.proving_with(Side::Mapper, welcome).is_some();
        // Two may greet each other between several pairs of addresses at once. HELLO is
        // repeated, and finds the one link that comes of it.
        if has_link || self.links.unproved(Side::Mapper) >= UNPROVED {
            return false;
        }
        let mut own = self.links.proving_with(Side::Owner, welcome);
        if own.is_some() && self.guest.config.uuid > welcome.uuid && !self.peers.note_crossed(pair)
        {
            // Offers have crossed: that of the greater UUID counts. If the peer offers
            // again, it has never got ours: somebody else greeted in its name.
            return false;
        }
        while let Some(key) = own {
            self.withdraw(key);
            own = self.links.proving_with(Side::Owner, welcome);
        }
        if let Err(refusal) = self.accept(pair, welcome, nonce_b, reference, port) {
            self.not_accepted(pair, refusal);
            let refused = Kind::Refused(refusal);
            self.guest.send(pair, welcome.nonce_a, refused);
        }
        true
    }

    /// What a WELCOME offers cannot be mapped. The peer may have withdrawn it for the
    /// offers that others wanted of it, so HELLO is repeated.
    fn not_accepted(&mut self, pair: Pair, refusal: Refusal) {
        let asking = self.peers.element(pair).and_then(|element| element.asking);
        match asking {
            Some(mut asking)
                if refusal == Refusal::NotCoResident && asking.offers <= HELLO_RETRIES.len() =>
            {
                asking.offers += 1;
                self.peers.ask(pair, asking);
            }
            _ => self.set_remote(pair),
        }
    }

    /// Maps what a WELCOME offers, and proves this side.
    fn accept(
        &mut self,
        pair: Pair,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> Result<(), Refusal> {
        if welcome.domid == self.guest.platform.domid() {
            return Err(Refusal::NotCoResident);
        }
        self.links
            .check_room(self.guest.config.max_peers, welcome.domid)?;
        let link = Link::accept(self.guest, pair, welcome, nonce_b, reference, port)?;
        self.insert_candidate(pair, link).map(drop)
    }

    fn refused(&mut self, pair: Pair, nonce_a: Nonce, refusal: Refusal) -> bool {
        let Some(element) = self.peers.element(pair).copied() else {
            return false;
        };
        if element.asking.is_some_and(|asking| asking.nonce == nonce_a) {
            // It may have room soon.
            self.set_remote_for(pair, refusal == Refusal::NoRoom);
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
    /// proved itself. A link whose proof failed is dropped, and so is one that
    /// rings without end.
    pub(crate) fn check_proof(&mut self, key: LinkKey) -> bool {
        let Some(link) = self.links.get(key) else {
            return false;
        };
        let room = self
            .links
            .check_room(self.guest.config.max_peers, link.domid);
        if room.is_err() {
            // Others were quicker.
            self.withdraw(key);
            return false;
        }
        let (domid, pair, side) = (link.domid, link.pair, link.side);
        if self.links.standing(&self.guest.platform, domid).is_some() {
            // A link that stands is not given up for another one. The side that asked
            // asks again, a little later (the peer could offer one after the other),
            // and its address joins that link.
            self.withdraw(key);
            if side == Side::Mapper {
                let now = self.guest.platform.now();
                self.begin_to_ask(pair, now);
            }
            return false;
        }
        let Some(link) = self.links.get_mut(key) else {
            return false;
        };
        let proof = link.check_proof(&self.guest.platform);
        link.count_event(proof == Proof::Given, &self.guest.platform);
        if proof == Proof::Failed || link.fault.is_some() {
            self.withdraw(key);
            return false;
        }
        proof == Proof::Given
    }

    /// The other side of a link that is not up has had its time.
    pub(crate) fn give_up_proof(&mut self, key: LinkKey) {
        let link = self.links.get(key);
        let mapper = link.filter(|link| link.side == Side::Mapper);
        let pair = mapper.map(|link| link.pair);
        self.withdraw(key);
        if let Some(pair) = pair {
            // A guest that offers a link and does not open it is not asked again soon.
            self.set_remote(pair);
        }
    }

    /// Assumes for a while that nobody on this host lives at an address. If there are
    /// connections that had a link, it is greeted again after that: the peer may have
    /// been away, or its datagrams were lost.
    pub(crate) fn set_remote(&mut self, pair: Pair) {
        self.set_remote_for(pair, false);
    }

    /// `is_short`: it may take a link soon, connections or not.
    fn set_remote_for(&mut self, pair: Pair, is_short: bool) {
        let again = !self.conns.of_pair(pair).is_empty();
        let wait = if again || is_short {
            self.peers.next_wait(pair)
        } else {
            REMOTE
        };
        let until = self.guest.platform.now().after(wait);
        self.peers.set_remote(pair, until, again);
    }

    /// Drops a link that was never up.
    #[inline(never)]
    pub(crate) fn withdraw(&mut self, key: LinkKey) {
        if let Some(link) = self.links.remove(key) {
            self.peers.unlink(link.pair, key);
            self.dispose(link);
        }
    }

    fn dispose(&mut self, mut link: Link<P>) {
        link.let_go(self.guest, Cause::Left);
        link.dispose(self.guest);
    }
}
