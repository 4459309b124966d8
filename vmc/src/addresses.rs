//! The addresses of a link. A link joins two guests, and each pair of their
//! addresses is proved once and added to it (design rule R19, docs/protocol.md,
//! "More addresses"); a pair that is lost takes its connections back to the
//! network, and no other.

use core::net::IpAddr;

use crate::cause::Cause;
use crate::error::{Bug, Failure};
use crate::keys::LinkKey;
use crate::link::pair_of_frame;
use crate::output::Output;
use crate::platform::Platform;
use crate::stream::Pair;
use crate::vmc::Vmc;
use crate::wire::datagram::{Cookie, Datagram, Kind};
use crate::wire::message::Leave;
use crate::wire::{Message, Nonce};

impl<P: Platform> Vmc<P> {
    /// Sets the addresses of this guest. Nobody is greeted from another one, and no
    /// datagram to another one is taken. Peers hear of those that are lost.
    pub fn set_addresses(&mut self, own: &[IpAddr]) {
        for address in self.peers.set_own(own) {
            for pair in self.peers.pairs_from(address) {
                match (self.peers.link(pair), self.peers.candidate(pair)) {
                    (Some(key), _) => {
                        if let Some(link) = self.links.get_mut(key) {
                            link.post(&Message::Lost { address });
                        }
                        self.lose_pair(key, pair);
                    }
                    (None, Some(key)) => self.discovery().withdraw(key),
                    (None, None) => {}
                }
                if self.peers.link(pair).is_none() {
                    self.peers.forget(pair);
                }
            }
        }
    }

    /// A pair of addresses was proved to belong to a link. If it belonged to
    /// another, it has moved: bytes in rings of that link are for a guest that does
    /// not have the address any more.
    pub(crate) fn pair_up(&mut self, key: LinkKey, pair: Pair) {
        if let Some(old) = self.peers.link(pair).filter(|old| *old != key) {
            let link = self.links.get(old);
            let is_gone = link.is_none_or(|link| link.has_gone(&self.guest.platform));
            if is_gone || self.peers.pairs_of(old).len() == 1 {
                // It may have left in order before.
                self.read_last(old);
                self.close_link(old, Cause::Replaced);
            } else {
                self.pair_down(old, pair);
                for conn in self.conns.between(old, pair) {
                    self.with_flow(conn, |flow| {
                        if flow.conn.uses_rings() {
                            flow.end();
                        }
                    });
                }
            }
        }
        self.peers.link_up(pair, key);
        if let Some(link) = self.links.get_mut(key) {
            link.announced = false;
        }
        self.conns.attach(&mut self.guest, key, pair);
        let now = self.guest.platform.now();
        for unsettled in &mut self.unsettled {
            unsettled.note_link(pair, now);
        }
        self.retry_resume(now);
        self.guest.outputs.push(Output::LinkUp { pair });
    }

    /// A pair belongs to a link no longer.
    pub(crate) fn pair_down(&mut self, key: LinkKey, pair: Pair) {
        self.peers.unlink(pair, key);
        self.guest.outputs.push(Output::PairDown { pair });
    }

    /// One end of a pair has its address no longer: its connections go back to the
    /// network. A link without a pair is left.
    fn lose_pair(&mut self, key: LinkKey, pair: Pair) {
        self.pair_down(key, pair);
        for conn in self.conns.between(key, pair) {
            self.with_flow(conn, |flow| {
                flow.conn.off_link = true;
                flow.fall_back();
            });
        }
        let link = self.links.get(key);
        if link.is_some_and(|link| link.is_open()) && self.peers.pairs_of(key).is_empty() {
            let now = self.guest.platform.now();
            self.part(key, Leave::Shutdown, false, Cause::Left, now);
        }
    }

    /// ADDRESS: the peer has got a HELLO between these addresses, and says so where
    /// only it can. If it was ours, the peer receives at that address; the cookie
    /// shows it that we receive at ours.
    pub(crate) fn asked_address(&mut self, key: LinkKey, pair: Pair, nonce_a: &Nonce) {
        let Some(cookie) = self.peers.cookie_of(pair, nonce_a) else {
            // Late, or somebody claims to be us.
            return;
        };
        let Some(link) = self.links.get_mut(key).filter(|link| link.is_open()) else {
            return;
        };
        if !self.peers.takes_pair(key) {
            return;
        }
        link.post(&Message::Proved {
            pair,
            nonce_a: *nonce_a,
            cookie,
        });
        self.pair_up(key, pair);
    }

    /// PROVED: the peer has got a cookie at its end of the pair.
    pub(crate) fn proved_address(
        &mut self,
        key: LinkKey,
        pair: Pair,
        nonce_a: Nonce,
        cookie: &Cookie,
    ) {
        let Some(link) = self.links.get(key).filter(|link| link.is_open()) else {
            return;
        };
        let hello = Datagram {
            domid: link.domid,
            uuid: link.uuid,
            nonce_a,
            kind: Kind::Hello { cookie: *cookie },
        };
        let now = self.guest.platform.now();
        let is_proved = self.peers.is_own(pair.local)
            && self.peers.challenge.is_answered(pair, &hello, cookie, now);
        if !is_proved {
            self.guest.note_wrong_address();
        } else if self.peers.link(pair) != Some(key) && self.peers.takes_pair(key) {
            self.pair_up(key, pair);
        }
    }

    /// LOST: the peer has an address no longer.
    pub(crate) fn peer_lost_address(&mut self, key: LinkKey, address: IpAddr) {
        for pair in self.peers.pairs_of(key) {
            if pair.remote == address {
                self.lose_pair(key, pair);
            }
        }
    }

    /// FRAME: takes it if it is between two addresses of the link. A peer that
    /// sends to an address which is not this guest's any more is told.
    pub(crate) fn take_frame(&mut self, key: LinkKey, frame: &[u8]) -> Result<(), Failure> {
        let link = self.links.get_mut(key);
        let link = link.ok_or(Bug("the link of a frame stands while it is taken"))?;
        link.counters.frames_received += 1;
        let pair = pair_of_frame(frame);
        if pair.is_some_and(|pair| self.peers.link(pair) == Some(key)) {
            link.take_frame(&mut self.guest, frame);
            return Ok(());
        }
        self.guest.note_wrong_address();
        if let Some(pair) = pair.filter(|pair| !self.peers.is_own(pair.local)) {
            let address = pair.local;
            link.post_if_room(&Message::Lost { address });
        }
        Ok(())
    }
}
