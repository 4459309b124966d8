//! Rings in pages of their reader: a guest that is about to migrate leaves
//! nothing of the traffic in its own (design rule R9). It asks for a ring, its
//! peer grants one, and the direction switches to it as to a larger ring.

use alloc::boxed::Box;

use super::link::Link;
use super::memory::Pages;
use super::rings::{OwnRing, User, geometry, pages, reference_bytes};
use crate::channel::Vmc;
use crate::connection::{Fin, Path};
use crate::limits::{ASKED, FIRST_LOG2, PAGE};
use crate::message::{Message, References};
use crate::output::{Cause, Step};
use crate::platform::Platform;
use crate::ring::Producer;

impl<P: Platform> Link<P> {
    /// Forgets an own ring in pages of the peer's, which has taken it back.
    /// Returns how many pages were mapped.
    pub(crate) fn drop_home(&mut self, number: u16) -> usize {
        let place = self.own.get_mut(usize::from(number));
        let Some(ring) = place.and_then(Option::take) else {
            return 0;
        };
        if matches!(ring.user, User::Idle) {
            self.idle.retain(|idle| *idle != number);
        } else {
            self.used = self.used.saturating_sub(1);
        }
        let pages = pages(ring.log2);
        self.mapped_pages -= pages;
        pages
    }

    /// Gives back the rings that nobody uses.
    pub(crate) fn retire_idle(&mut self) {
        for own in core::mem::take(&mut self.idle) {
            if let Some(Some(ring)) = self.own.get_mut(usize::from(own)) {
                ring.user = User::Retiring;
            }
            self.post(&Message::Retire { own });
        }
    }
}

impl<P: Platform> Vmc<P> {
    /// Whether the rings that this guest writes on a link are to lie in pages
    /// of the peer's. Where both migrate, each keeps what it writes.
    pub(crate) fn wants_home(&self, index: usize) -> bool {
        self.forewarned
            && self
                .links
                .get(index)
                .is_some_and(|link| link.is_open() && !link.peer_migrates)
    }

    /// Moves the senders of a link to rings where they should lie, as far as
    /// there are such; asks for those that are missing.
    pub(crate) fn go_home(&mut self, index: usize) {
        let home = self.wants_home(index);
        let is_open = self.links.get(index).is_some_and(Link::is_open);
        let is_lean = self.most_log2(index) < u8::MAX;
        if !is_open || !(home || is_lean || self.has_homes(index)) {
            return;
        }
        let mut missing = heapless::Vec::<u8, ASKED>::new();
        for at in 0..self.conns.end() {
            let Some(log2) = self.misplaced(index, at, home) else {
                continue;
            };
            // Its SWITCH must not be left behind: the bytes would be where
            // nobody looks for them.
            let is_behind = self
                .links
                .get(index)
                .is_none_or(|link| link.outbox.is_behind());
            if is_behind || !self.switch(at, log2, None) {
                let _ = missing.push(log2);
            } else {
                self.stats.rehomed += 1;
                self.wake_writer(at);
            }
            if missing.is_full() {
                break;
            }
        }
        if !home {
            return;
        }
        self.ask_for(index, &missing);
        let is_done = missing.is_empty() && !self.is_moving(index);
        if let Some(link) = self.links.get_mut(index)
            && is_done
            && !core::mem::replace(&mut link.is_rehomed, true)
        {
            self.trace(index, Step::Rehomed);
        }
    }

    /// A ring in pages of the peer's ends with its CONFIRM.
    pub(crate) fn lose_home(&mut self, index: usize, number: u16) {
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        let ring = link.own.get(usize::from(number)).and_then(Option::as_ref);
        if ring.is_some_and(|ring| !ring.memory.is_own()) {
            self.stats.mapped_pages -= link.drop_home(number);
        }
    }

    /// Whether a sender still has a ring of its own pages on a link.
    fn is_moving(&self, index: usize) -> bool {
        let uses = |number: &u16| {
            let link = self.links.get(index);
            let ring = link.and_then(|link| link.own.get(usize::from(*number))?.as_ref());
            ring.is_some_and(|ring| ring.memory.is_own())
        };
        let key = self.links.key(index);
        let mut conns = self.conns.iter();
        conns.any(|(_, conn)| {
            conn.link == key && conn.sender.fin == Fin::Open && conn.sender.rings.iter().any(uses)
        })
    }

    fn has_homes(&self, index: usize) -> bool {
        let link = self.links.get(index);
        link.is_some_and(|link| link.own.iter().flatten().any(|ring| !ring.memory.is_own()))
    }

    /// The size of ring that a connection's sender needs elsewhere.
    fn misplaced(&self, index: usize, at: usize, home: bool) -> Option<u8> {
        let conn = self.conns.get(at)?;
        if conn.link != self.links.key(index) || conn.ended || conn.sender.fin != Fin::Open {
            return None;
        }
        if conn.sender.path != Path::Ring || conn.sender.sunk {
            return None;
        }
        // One that is changing its ring already is looked at when that is done.
        let &[number] = conn.sender.rings.as_slice() else {
            return None;
        };
        let link = self.links.get(index)?;
        let ring = link.own.get(usize::from(number))?.as_ref()?;
        let most = self.most_log2(index);
        // What has no traffic goes back to TCP instead (`lean`).
        let is_active = !home || conn.moved() != conn.looked;
        let is_misplaced = ring.memory.is_own() == home || ring.log2 > most;
        (is_active && is_misplaced).then_some(ring.log2.min(most))
    }

    /// ASK for rings, a few at a time.
    pub(crate) fn ask_for(&mut self, index: usize, sizes: &[u8]) {
        let max_rings = self.max_rings();
        let Some(link) = self.links.get_mut(index).filter(|link| !link.homeless) else {
            return;
        };
        for log2 in sizes.iter().skip(link.asked.len()) {
            if link.asked.is_full() || link.outbox.is_behind() {
                return;
            }
            let number = link.free_number();
            let Some(own) = u16::try_from(number).ok().filter(|_| number < max_rings) else {
                return;
            };
            let _ = link.asked.push((own, *log2));
            link.post(&Message::Ask { own, log2: *log2 });
        }
    }

    /// ASK: the peer wants a ring to write to in pages of ours.
    pub(crate) fn asked(&mut self, index: usize, number: u16, log2: u8) -> Result<(), Cause> {
        let max_rings = self.max_rings();
        let total = self.config.memory / PAGE;
        let pages = pages(log2);
        let may_grant = self.may_grant(pages) && log2 <= self.largest_log2().max(FIRST_LOG2);
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        let at = usize::from(number);
        if matches!(link.peers.get(at), Some(Some(_))) {
            return Err(Cause::BadMessage);
        }
        let fits = at < max_rings && link.granted_pages + pages <= total / 2 && link.is_open();
        let region = if may_grant && fits {
            self.platform.grant(link.domid, pages).ok()
        } else {
            None
        };
        // None of them says that there is no room.
        let references = region.as_ref();
        let references = references.map(|region| reference_bytes(&self.platform, region));
        let references = references.unwrap_or_default();
        link.post(&Message::Home {
            your: number,
            log2,
            references: References(&references),
        });
        if let Some(region) = region {
            link.granted_pages += pages;
            self.stats.granted_pages += pages;
            link.counters.rings_granted += 1;
            link.put_peer_ring(at, log2, Some(Pages::Own(region)));
        }
        Ok(())
    }

    /// HOME: the peer has granted a ring for us to write to, or has none.
    pub(crate) fn home(
        &mut self,
        index: usize,
        number: u16,
        log2: u8,
        references: References<'_>,
    ) -> Result<(), Cause> {
        let total = self.config.memory / PAGE;
        let pages = pages(log2);
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        let asked = link.asked.iter().position(|asked| *asked == (number, log2));
        let Some(asked) = asked else {
            return Err(Cause::BadMessage);
        };
        link.asked.remove(asked);
        let references: alloc::vec::Vec<u32> = references.iter().collect();
        if references.is_empty() {
            // It stays where it is, and its pages are sent.
            link.homeless = true;
            return Ok(());
        }
        let fits = link.mapped_pages + pages <= total / 2
            && self.stats.mapped_pages + pages <= total
            && link.is_open();
        let mapping = fits
            .then(|| self.platform.map(link.domid, &references).ok())
            .flatten();
        let Some(mapping) = mapping else {
            link.homeless = true;
            if link.disowned.push(number).is_err() {
                link.fault = Some(Cause::Stuck);
            }
            link.post(&Message::Retire { own: number });
            return Ok(());
        };
        link.mapped_pages += pages;
        self.stats.mapped_pages += pages;
        let at = usize::from(number);
        if link.own.len() <= at {
            link.own.resize_with(at + 1, || None);
        }
        link.own[at] = Some(Box::new(OwnRing {
            producer: Producer::sealable(&mapping, geometry(log2), 0),
            memory: Pages::Peers(mapping),
            log2,
            user: User::Idle,
            noted: false,
        }));
        link.idle.push(number);
        self.go_home(index);
        Ok(())
    }

    /// Unmaps a ring, or takes it back.
    pub(crate) fn dispose_ring(&mut self, index: usize, memory: Pages<P>, pages: usize) {
        let link = self.links.get_mut(index);
        match memory {
            Pages::Own(region) => {
                if let Some(link) = link {
                    link.granted_pages -= pages;
                }
                self.take_back(region, pages);
            }
            Pages::Peers(mapping) => {
                if let Some(link) = link {
                    link.mapped_pages -= pages;
                }
                self.stats.mapped_pages -= pages;
                drop(mapping);
            }
        }
    }
}
