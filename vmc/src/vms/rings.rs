//! The rings of a link that this guest writes. As a rule it granted them, and
//! they stay granted when a connection is done with them, for the next one;
//! those of a guest that migrates lie in pages of its peer (`homes`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::link::Link;
use super::memory::Pages;
use crate::channel::Vmc;
use crate::limits::{LARGEST_LOG2, LEAN_LOG2, PAGE, RING_NUMBERS};
use crate::message::{Message, References};
use crate::output::Cause;
use crate::platform::{Platform, PlatformError};
use crate::ring::{Geometry, Producer};

/// Who uses an own ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Nobody.
    Idle,
    /// The connection at this index.
    Conn(usize),
    /// A connection that is over; the receiver has not let go of it yet.
    Over,
    /// RETIRE was sent.
    Retiring,
}

/// A ring that this guest writes.
pub(crate) struct OwnRing<P: Platform> {
    pub(crate) memory: Pages<P>,
    pub(crate) log2: u8,
    pub(crate) producer: Producer,
    pub(crate) user: User,
    /// It is in the list of notifications put off.
    pub(crate) noted: bool,
}

/// Pages of a ring, with its header.
pub(crate) const fn pages(log2: u8) -> usize {
    1 + (1 << log2)
}

/// Where a connection's ring lies in its memory.
pub(crate) const fn geometry(log2: u8) -> Geometry {
    Geometry {
        header: 0,
        data: PAGE,
        capacity: PAGE << log2,
    }
}

/// Grant references of a region as a message has them.
pub(crate) fn reference_bytes<P: Platform>(platform: &P, region: &P::Region) -> Vec<u8> {
    let mut references = Vec::new();
    platform.references(region, &mut references);
    references
        .iter()
        .flat_map(|one| one.to_le_bytes())
        .collect()
}

impl<P: Platform> Link<P> {
    /// An own ring in use by the connection at `index`.
    pub(crate) fn own_of(&mut self, number: u16, index: usize) -> Option<&mut OwnRing<P>> {
        let ring = self.own.get_mut(usize::from(number))?.as_mut()?;
        (ring.user == User::Conn(index)).then_some(ring)
    }

    /// The first number that no own ring has, or will have.
    pub(crate) fn free_number(&self) -> usize {
        let is_free = |number: &usize| {
            let is_asked = |(asked, _): &(u16, u8)| usize::from(*asked) == *number;
            let is_disowned = |disowned: &u16| usize::from(*disowned) == *number;
            !matches!(self.own.get(*number), Some(Some(_)))
                && !self.asked.iter().any(is_asked)
                && !self.disowned.iter().any(is_disowned)
        };
        let all = 0..=self.own.len() + self.asked.len() + self.disowned.len();
        // One more than there are of the others.
        all.into_iter().find(is_free).unwrap_or(usize::MAX)
    }

    /// Nobody uses an own ring any more.
    pub(crate) fn idle_own(&mut self, number: u16) {
        if let Some(Some(ring)) = self.own.get_mut(usize::from(number))
            && !matches!(ring.user, User::Idle | User::Retiring)
        {
            self.used = self.used.saturating_sub(1);
            if self.is_lean {
                ring.user = User::Retiring;
                self.post(&Message::Retire { own: number });
            } else {
                ring.user = User::Idle;
                self.idle.push(number);
            }
        }
    }

    /// An own ring is of no use to the peer: it is taken back.
    pub(crate) fn retire_own(&mut self, number: u16) {
        self.idle_own(number);
        if let Some(at) = self.idle.iter().rposition(|idle| *idle == number) {
            self.idle.remove(at);
            if let Some(Some(ring)) = self.own.get_mut(usize::from(number)) {
                ring.user = User::Retiring;
            }
            self.post(&Message::Retire { own: number });
        }
    }
}

impl<P: Platform> Vmc<P> {
    /// log2 of the data pages of the largest ring on a link at present.
    pub(crate) fn most_log2(&self, index: usize) -> u8 {
        let link = self.links.get(index);
        let is_lean = link.is_some_and(|link| link.is_lean);
        if is_lean { LEAN_LOG2 } else { u8::MAX }
    }

    /// log2 of the data pages of the largest ring.
    pub(crate) fn largest_log2(&self) -> u8 {
        let pages = (self.config.largest_ring / PAGE).max(1);
        // The logarithm of a usize is less than 64.
        (pages.ilog2() as u8).min(LARGEST_LOG2)
    }

    pub(crate) fn max_rings(&self) -> usize {
        self.config.max_rings.min(RING_NUMBERS)
    }

    /// An own ring for a connection, of more data pages than `more_than`: one
    /// that is idle, or a new one with `log2`.
    pub(crate) fn take_ring(
        &mut self,
        index: usize,
        log2: u8,
        more_than: Option<u8>,
    ) -> Option<u16> {
        let home = self.wants_home(index);
        let most = self.most_log2(index);
        let log2 = log2.min(most);
        let link = self.links.get_mut(index)?;
        let fits = |number: &u16| match link.own.get(usize::from(*number)) {
            Some(Some(ring)) => {
                ring.memory.is_own() != home
                    && ring.log2 <= most
                    && more_than.is_none_or(|least| ring.log2 > least)
            }
            _ => false,
        };
        if let Some(at) = link.idle.iter().rposition(fits) {
            link.counters.rings_reused += 1;
            return Some(link.idle.remove(at));
        }
        if home {
            self.ask_for(index, &[log2]);
            return None;
        }
        self.grant_ring(index, log2)
    }

    fn grant_ring(&mut self, index: usize, log2: u8) -> Option<u16> {
        let max_rings = self.max_rings();
        let total = self.config.memory / PAGE;
        let may_grant = self.may_grant(pages(log2));
        let link = self.links.get_mut(index)?;
        let number = link.free_number();
        let pages = pages(log2);
        if number >= max_rings || link.granted_pages + pages > total / 2 {
            self.reclaim(index);
            return None;
        }
        if !may_grant {
            self.reclaim_anywhere();
            return None;
        }
        let region = match self.platform.grant(link.domid, pages) {
            Ok(region) => region,
            Err(PlatformError::NoMemory | PlatformError::NoRoom) => {
                self.reclaim_anywhere();
                return None;
            }
            Err(PlatformError::Refused) => return None,
        };
        let references = reference_bytes(&self.platform, &region);
        let ring = OwnRing {
            producer: Producer::new(&region, geometry(log2), 0),
            memory: Pages::Own(region),
            log2,
            user: User::Idle,
            noted: false,
        };
        if link.own.len() <= number {
            link.own.resize_with(number + 1, || None);
        }
        link.own[number] = Some(Box::new(ring));
        link.granted_pages += pages;
        link.counters.rings_granted += 1;
        self.stats.granted_pages += pages;
        let own = u16::try_from(number).ok()?;
        link.post(&Message::Ring {
            own,
            log2,
            references: References(&references),
        });
        Some(own)
    }

    /// Takes an idle ring of a link back, so that there is room the next time.
    fn reclaim(&mut self, index: usize) -> bool {
        let Some(link) = self.links.get_mut(index).filter(|link| link.is_open()) else {
            return false;
        };
        if link.idle.is_empty() {
            return false;
        }
        let own = link.idle.remove(0);
        if let Some(Some(ring)) = link.own.get_mut(usize::from(own)) {
            ring.user = User::Retiring;
        }
        link.post(&Message::Retire { own });
        true
    }

    fn reclaim_anywhere(&mut self) {
        for index in 0..self.links.end() {
            if self.reclaim(index) {
                return;
            }
        }
    }

    /// RELEASED: the peer has unmapped a ring.
    pub(crate) fn own_ring_released(&mut self, index: usize, number: u16) -> Result<(), Cause> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        if let Some(at) = link.disowned.iter().position(|ring| *ring == number) {
            link.disowned.swap_remove(at);
            return Ok(());
        }
        let Some(place) = link.own.get_mut(usize::from(number)) else {
            return Err(Cause::BadMessage);
        };
        match place.take() {
            Some(ring) if ring.user == User::Retiring => {
                self.dispose_ring(index, ring.memory, pages(ring.log2));
                Ok(())
            }
            Some(ring) => {
                *place = Some(ring);
                Err(Cause::BadMessage)
            }
            None => Err(Cause::BadMessage),
        }
    }
}
