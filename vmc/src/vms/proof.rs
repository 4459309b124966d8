//! From HELLO to a link that is up: co-residency is proved, not claimed
//! (design rule R2). Each side finds the secret that it sent to one address in
//! a page that only one domain of this host can have written or granted.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::control::{self, CLOSED, FROZEN, LINK_PAGES, OPEN, Side};
use super::datagram::{Datagram, Kind, Nonce, Refusal};
use super::link::{Ends, Link, Phase};
use super::memory::Pages;
use crate::channel::Vmc;
use crate::limits::{PAGE, PROOF_TIMEOUT, REMOTE, UNPROVED};
use crate::message::Message;
use crate::output::{Cause, Output};
use crate::platform::{Instant, Platform};
use crate::publisher::MemberEvent;

impl<P: Platform> Vmc<P> {
    /// Grants a region to the domain that says HELLO, and says WELCOME.
    pub(super) fn offer(&mut self, from: IpAddr, hello: &Datagram) -> Result<(), Refusal> {
        if let Some(old) = self.vms.element(from).and_then(|element| element.candidate) {
            self.withdraw(old);
        }
        self.check_room(hello, from)?;
        if !self.may_grant(LINK_PAGES) {
            return Err(Refusal::NoRoom);
        }
        let unproved = self.links.iter().filter(|(_, link)| link.is_proving());
        if unproved.count() >= UNPROVED {
            return Err(Refusal::NoRoom);
        }
        let platform = &mut self.platform;
        let region = platform.grant(hello.domid, LINK_PAGES);
        let region = region.map_err(|_| Refusal::NoRoom)?;
        let Ok(port) = platform.open_port(hello.domid) else {
            self.stats.granted_pages += LINK_PAGES;
            self.take_back(region, LINK_PAGES);
            return Err(Refusal::NoRoom);
        };
        let mut references = Vec::with_capacity(LINK_PAGES);
        platform.references(&region, &mut references);
        control::write(&region, &hello.nonce_a, &references);
        let mut nonce_b = [0; 16];
        platform.random(&mut nonce_b);
        let ends = Ends {
            address: from,
            uuid: hello.uuid,
            domid: hello.domid,
            side: Side::Owner,
            nonce_a: hello.nonce_a,
            nonce_b,
        };
        let until = platform.now().after(PROOF_TIMEOUT);
        let mut link = Link::new(ends, Pages::Own(region), port, until);
        link.granted_pages = LINK_PAGES;
        self.stats.granted_pages += LINK_PAGES;
        self.insert_candidate(from, link)?;
        Ok(())
    }

    fn insert_candidate(&mut self, from: IpAddr, link: Link<P>) -> Result<(), Refusal> {
        let is_owner = link.side == Side::Owner;
        let Some(key) = self.links.insert(link) else {
            // `check_room` and the bound of unproved links leave room.
            return Err(Refusal::NoRoom);
        };
        let index = key.index as usize;
        self.vms.stop_asking(from);
        match self.vms.element_mut(from) {
            Some(element) => {
                element.candidate = Some(index);
                element.remote_until = None;
            }
            None => {
                self.withdraw(index);
                return Err(Refusal::NoRoom);
            }
        }
        if is_owner {
            self.send_welcome(index);
        }
        Ok(())
    }

    /// Whether there may be a link more, beside those that it would replace.
    fn check_room(&self, new: &Datagram, address: IpAddr) -> Result<(), Refusal> {
        let mut links = self.links.iter().map(|(_, link)| link);
        let others = links
            .by_ref()
            .filter(|link| !link.is_proving() && !link.is_same(address, new.uuid, new.domid));
        if others.count() < self.config.max_peers {
            Ok(())
        } else {
            Err(Refusal::NoRoom)
        }
    }

    /// WELCOME, once more where the HELLO came once more.
    pub(super) fn send_welcome(&mut self, index: usize) {
        let Some(link) = self.links.get(index) else {
            return;
        };
        let Pages::Own(region) = &link.memory else {
            return;
        };
        let mut references = Vec::with_capacity(LINK_PAGES);
        self.platform.references(region, &mut references);
        let Some(reference) = references.first().copied() else {
            return;
        };
        let kind = Kind::Welcome {
            nonce_b: link.nonce_b,
            reference,
            port: self.platform.port_number(&link.port),
        };
        let (address, nonce_a) = (link.address, link.nonce_a);
        self.send(address, nonce_a, kind);
    }

    /// Maps what a WELCOME offers, if it answers to our nonce, and proves
    /// ourselves.
    pub(super) fn accept(
        &mut self,
        from: IpAddr,
        welcome: &Datagram,
        nonce_b: Nonce,
        reference: u32,
        port: u32,
    ) -> Result<(), Refusal> {
        if welcome.domid == self.platform.domid() {
            return Err(Refusal::NotCoResident);
        }
        self.check_room(welcome, from)?;
        if self.stats.mapped_pages + LINK_PAGES > self.config.memory / PAGE {
            return Err(Refusal::NoRoom);
        }
        let platform = &mut self.platform;
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
            address: from,
            uuid: welcome.uuid,
            domid: welcome.domid,
            side: Side::Mapper,
            nonce_a: welcome.nonce_a,
            nonce_b,
        };
        let until = platform.now().after(PROOF_TIMEOUT);
        let mut link = Link::new(ends, Pages::Peers(mapping), port, until);
        link.mapped_pages = LINK_PAGES;
        self.stats.mapped_pages += LINK_PAGES;
        control::write_proof(&link.memory, &nonce_b);
        link.set_state(OPEN, &self.platform);
        self.insert_candidate(from, link)
    }

    /// An event of a link that is not up: has the other side proved itself?
    pub(crate) fn look_for_proof(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        let state = link.peer_state();
        if state == CLOSED || state == FROZEN {
            self.withdraw(index);
        } else if state == OPEN {
            match link.side {
                Side::Owner if !control::is_proved(&link.memory, &link.nonce_b) => {
                    self.withdraw(index);
                }
                Side::Owner => {
                    link.set_state(OPEN, &self.platform);
                    self.link_up(index);
                }
                Side::Mapper => self.link_up(index),
            }
        }
    }

    /// The other side of a link that is not up had its time.
    pub(crate) fn give_up_proof(&mut self, index: usize, now: Instant) {
        let mapper = self
            .links
            .get(index)
            .filter(|link| link.side == Side::Mapper)
            .map(|link| link.address);
        self.withdraw(index);
        if let Some(address) = mapper {
            // Whoever offers a link and does not open it is not asked again soon.
            self.vms.set_remote(address, now.after(REMOTE));
        }
    }

    /// Drops a link that was never up.
    pub(crate) fn withdraw(&mut self, index: usize) {
        let Some(mut link) = self.links.remove(index) else {
            return;
        };
        self.vms.unlink(link.address, index);
        self.let_link_go(&mut link, Cause::Left);
        self.dispose(link);
    }

    fn link_up(&mut self, index: usize) {
        let Some(link) = self.links.get(index) else {
            return;
        };
        let (uuid, domid, address) = (link.uuid, link.domid, link.address);
        // The new one has been proved; now the old one goes.
        for old in 0..self.links.end() {
            let replaced = self.links.get(old).is_some_and(|link| {
                old != index && !link.is_proving() && link.is_same(address, uuid, domid)
            });
            if replaced {
                // It may have left in order before.
                self.read_last(old);
                self.close_link(old, Cause::Replaced);
            }
        }
        self.vms.stop_asking(address);
        if let Some(element) = self.vms.element_mut(address) {
            element.candidate = None;
            element.link = Some(index);
            element.remote_until = None;
        }
        let now = self.platform.now();
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        link.phase = Phase::Open;
        link.look_at = link.next_look(now);
        link.inbox.consumer.attach(&link.memory);
        match link.inbox.consumer.wait_for_data(&link.memory) {
            Ok(waiting) => link.more = waiting,
            Err(_) => link.fault = Some(Cause::IndexLie),
        }
        if self.forewarned {
            link.is_lean = true;
            link.post(&Message::Migrating(true));
        }
        self.stats.links += 1;
        self.attach_conns(index, address);
        self.ask_resumed(address, now);
        self.emit(Output::LinkUp { address });
        let event = if self.vms.see(uuid, domid) {
            MemberEvent::Arrived
        } else {
            MemberEvent::Join
        };
        self.publish(event, uuid, address, index);
    }
}
