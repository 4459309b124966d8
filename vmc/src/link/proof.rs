//! The two ends of a new link: the owner grants a region, the mapper maps it, and
//! each finds the secret that it sent to one address in a page that only one
//! domain of this host can have written or granted (design rule R2).

use alloc::vec::Vec;

use super::budget::Share;
use super::pages::Pages;
use super::state::{Ends, Link};
use crate::guest::Guest;
use crate::limits::PROOF_TIMEOUT;
use crate::platform::{Platform, PortState};
use crate::stream::Pair;
use crate::wire::Nonce;
use crate::wire::control::{self, LINK_PAGES, Side, SideState};
use crate::wire::datagram::{Datagram, Kind, Refusal};

/// What the other side of an unproved link has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    NotYet,
    Given,
    /// It closed the link, or showed something else.
    Failed,
}

impl<P: Platform> Link<P> {
    /// Grants a region to the domain that says HELLO.
    #[inline(never)]
    pub(crate) fn offer(
        guest: &mut Guest<P>,
        pair: Pair,
        hello: &Datagram,
    ) -> Result<Self, Refusal> {
        let share = Share::link(hello.domid);
        let room = guest.pool.may_offer(&mut guest.platform, hello.domid);
        room.map_err(|_| Refusal::NoRoom)?;
        let platform = &mut guest.platform;
        let region = platform.grant(hello.domid, LINK_PAGES);
        let region = region.map_err(|_| Refusal::NoRoom)?;
        let Ok(port) = platform.open_port(hello.domid) else {
            guest.pool.count_granted(share);
            guest.take_back(region, share);
            return Err(Refusal::NoRoom);
        };
        let mut references = Vec::with_capacity(LINK_PAGES);
        platform.references(&region, &mut references);
        control::write(&region, &hello.nonce_a, &references);
        let mut nonce_b = [0; 16];
        platform.random(&mut nonce_b);
        let ends = Ends {
            pair,
            uuid: hello.uuid,
            domid: hello.domid,
            side: Side::Owner,
            nonce_a: hello.nonce_a,
            nonce_b,
        };
        let until = platform.now().after(PROOF_TIMEOUT);
        guest.pool.count_granted(share);
        Ok(Self::new(ends, Pages::Own(region), port, until))
    }

    /// Returns the WELCOME of a link that this side owns.
    pub(crate) fn welcome(&self, platform: &P) -> Option<Kind> {
        let Pages::Own(region) = &self.memory else {
            return None;
        };
        let mut references = Vec::with_capacity(LINK_PAGES);
        platform.references(region, &mut references);
        Some(Kind::Welcome {
            nonce_b: self.nonce_b,
            reference: references.first().copied()?,
            port: platform.port_number(&self.port),
        })
    }

    /// Maps what a WELCOME offers, if it answers to our nonce, and proves this
    /// side.
    #[inline(never)]
    pub(crate) fn accept(
        guest: &mut Guest<P>,
        pair: Pair,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> Result<Self, Refusal> {
        let platform = &mut guest.platform;
        let page = platform.map(welcome.domid, &[reference]);
        let page = page.map_err(|_| Refusal::NotCoResident)?;
        if !control::answers(&page, &welcome.nonce_a) {
            return Err(Refusal::NotCoResident);
        }
        let references = control::references(&page, reference);
        drop(page);
        let mapping = platform.map(welcome.domid, &references);
        let mapping = mapping.map_err(|_| Refusal::NoRoom)?;
        let port = platform.bind_port(welcome.domid, port);
        let port = port.map_err(|_| Refusal::NoRoom)?;
        let ends = Ends {
            pair,
            uuid: welcome.uuid,
            domid: welcome.domid,
            side: Side::Mapper,
            nonce_a: welcome.nonce_a,
            nonce_b,
        };
        let until = platform.now().after(PROOF_TIMEOUT);
        let mut link = Self::new(ends, Pages::Peers(mapping), port, until);
        guest.pool.count_mapped(Share::link(welcome.domid));
        control::write_proof(&link.memory, &nonce_b);
        link.set_state(SideState::Open, &guest.platform);
        Ok(link)
    }

    /// Looks whether the other side has proved itself. The owner opens its side
    /// then.
    pub(crate) fn check_proof(&mut self, platform: &P) -> Proof {
        if self.peer_state() == SideState::Open && self.has_gone(platform) {
            return Proof::Failed;
        }
        match (self.peer_state(), self.side) {
            (SideState::Closed | SideState::Frozen, _) => Proof::Failed,
            (SideState::Open, Side::Owner) => {
                if control::is_proved(&self.memory, &self.nonce_b) {
                    self.set_state(SideState::Open, platform);
                    Proof::Given
                } else {
                    Proof::Failed
                }
            }
            (SideState::Open, Side::Mapper) => Proof::Given,
            (SideState::Opening | SideState::Invalid, _) => Proof::NotYet,
        }
    }

    /// Whether the peer of a link that is up has left it without our notice.
    pub(crate) fn has_gone(&self, platform: &P) -> bool {
        platform.port_state(&self.port) != PortState::Connected || self.peer_state().is_over()
    }
}
