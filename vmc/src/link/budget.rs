//! How many pages are granted and mapped, and who may have more.
//!
//! A budget belongs to a domain (design rule R18): what one had in the form of
//! another link, under another address, or has not given back, counts. The
//! [`Pool`] is that of the whole guest, for rings: one domain has half of it at
//! most. Links are bounded by their places, so that rings of others take no
//! guest's link, and by how many a domain keeps that have ended.
//!
//! A region that is taken back while the peer still maps it gets some time; then it
//! counts as quarantined (R15), and is tried less often: the peer may die, and its
//! mappings with it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::limits::{KEPT_LINKS, REVOKE_RETRY, REVOKE_RETRY_MOST, REVOKE_TIMEOUT};
use crate::platform::{DomId, Instant, Platform};
use crate::wire::control::LINK_PAGES;

/// Which limit leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// One of the peer's domain, its share of the pool, or of the link: its ring
    /// numbers.
    Link,
    /// One of the guest: the pool, or what the platform has.
    Guest,
    /// The peer's: it refused, or was asked and has not answered yet.
    Peer,
}

/// What pages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Link,
    Ring,
}

/// Pages granted to one domain, for as long as they count against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) domid: DomId,
    pub(crate) pages: usize,
    pub(crate) purpose: Use,
}

impl Share {
    /// Returns what a link region counts for.
    pub(crate) const fn link(domid: DomId) -> Self {
        Self {
            domid,
            pages: LINK_PAGES,
            purpose: Use::Link,
        }
    }

    /// Returns what a ring of `pages` counts for.
    pub(crate) const fn ring(domid: DomId, pages: usize) -> Self {
        Self {
            domid,
            pages,
            purpose: Use::Ring,
        }
    }
}

/// A region that the peer still maps.
struct Retiring<P: Platform> {
    region: P::Region,
    share: Share,
    next: Instant,
    wait: u64,
    /// When it counts as quarantined.
    until: Instant,
    is_quarantined: bool,
}

/// Pages of rings granted and mapped: of one domain, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Rings {
    granted: usize,
    mapped: usize,
}

/// Pages of this guest that peers may map, and of peers that it maps.
pub(crate) struct Pool<P: Platform> {
    /// Most pages of rings granted, and most mapped.
    limit: usize,
    /// Most links that have ended and that peers still map.
    most_kept: usize,
    granted: usize,
    mapped: usize,
    all: Rings,
    /// Domains that have rings.
    domains: BTreeMap<DomId, Rings>,
    retiring: Vec<Retiring<P>>,
}

impl<P: Platform> Pool<P> {
    /// Returns the pool of a guest with `limit` pages for rings, and `max_peers`
    /// places for links.
    pub(crate) const fn new(limit: usize, max_peers: usize) -> Self {
        Self {
            limit,
            most_kept: KEPT_LINKS * max_peers,
            granted: 0,
            mapped: 0,
            all: Rings {
                granted: 0,
                mapped: 0,
            },
            domains: BTreeMap::new(),
            retiring: Vec::new(),
        }
    }

    /// Returns the pages granted, those in quarantine included.
    pub(crate) const fn granted(&self) -> usize {
        self.granted
    }

    pub(crate) const fn mapped(&self) -> usize {
        self.mapped
    }

    pub(crate) fn quarantined(&self) -> usize {
        let all = self.retiring.iter();
        let quarantined = all.filter(|retiring| retiring.is_quarantined);
        quarantined.map(|retiring| retiring.share.pages).sum()
    }

    pub(crate) fn retiring(&self) -> usize {
        let all = self.retiring.iter();
        all.filter(|retiring| !retiring.is_quarantined).count()
    }

    fn of_domain(&self, domid: DomId) -> Rings {
        self.domains.get(&domid).copied().unwrap_or_default()
    }

    fn change(&mut self, domid: DomId, change: impl Fn(&mut Rings)) {
        change(&mut self.all);
        let rings = self.domains.entry(domid).or_default();
        change(rings);
        if rings.granted + rings.mapped == 0 {
            self.domains.remove(&domid);
        }
    }

    /// Checks that a link region may be granted to a domain.
    pub(crate) fn may_offer(&self, domid: DomId) -> Result<(), NoRoom> {
        let kept = self.retiring.iter().map(|retiring| retiring.share);
        let kept = kept.filter(|share| share.purpose == Use::Link);
        let of_domain = kept.clone().filter(|share| share.domid == domid);
        if of_domain.count() >= KEPT_LINKS {
            Err(NoRoom::Link)
        } else if kept.count() >= self.most_kept {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }

    /// Checks that a ring of `pages` may be granted to a domain.
    pub(crate) fn may_grant(&self, domid: DomId, pages: usize) -> Result<(), NoRoom> {
        self.has_room(|rings| rings.granted, domid, pages)
    }

    /// Checks that a ring of `pages` of a domain may be mapped.
    pub(crate) fn may_map(&self, domid: DomId, pages: usize) -> Result<(), NoRoom> {
        self.has_room(|rings| rings.mapped, domid, pages)
    }

    fn has_room(
        &self,
        of: impl Fn(Rings) -> usize,
        domid: DomId,
        pages: usize,
    ) -> Result<(), NoRoom> {
        if of(self.of_domain(domid)) + pages > self.limit / 2 {
            Err(NoRoom::Link)
        } else if of(self.all) + pages > self.limit {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }

    /// Counts pages that were granted. They count until [`Pool::take_back`] has
    /// taken them back.
    pub(crate) fn count_granted(&mut self, share: Share) {
        self.granted += share.pages;
        if share.purpose == Use::Ring {
            self.change(share.domid, |rings| rings.granted += share.pages);
        }
    }

    /// Forgets pages that are granted to nobody any more.
    pub(crate) fn forget_granted(&mut self, share: Share) {
        self.granted = self.granted.saturating_sub(share.pages);
        if share.purpose == Use::Ring {
            self.change(share.domid, |rings| {
                rings.granted = rings.granted.saturating_sub(share.pages);
            });
        }
    }

    /// Counts pages of a domain that were mapped.
    pub(crate) fn count_mapped(&mut self, share: Share) {
        self.mapped += share.pages;
        if share.purpose == Use::Ring {
            self.change(share.domid, |rings| rings.mapped += share.pages);
        }
    }

    /// Pages of a domain were unmapped.
    pub(crate) fn count_unmapped(&mut self, share: Share) {
        self.mapped = self.mapped.saturating_sub(share.pages);
        if share.purpose == Use::Ring {
            self.change(share.domid, |rings| {
                rings.mapped = rings.mapped.saturating_sub(share.pages);
            });
        }
    }

    /// Ends the grants of a region, now or as soon as its peer unmaps it.
    pub(crate) fn take_back(&mut self, platform: &mut P, region: P::Region, share: Share) {
        match platform.revoke(region) {
            Ok(()) => self.forget_granted(share),
            Err(region) => {
                let now = platform.now();
                self.retiring.push(Retiring {
                    region,
                    share,
                    next: now.after(REVOKE_RETRY),
                    wait: REVOKE_RETRY,
                    until: now.after(REVOKE_TIMEOUT),
                    is_quarantined: false,
                });
            }
        }
    }

    /// Tries again to take back what is due.
    pub(crate) fn retry(&mut self, platform: &mut P, now: Instant) {
        let mut index = 0;
        while let Some(retiring) = self.retiring.get(index) {
            if now < retiring.next {
                index += 1;
                continue;
            }
            let mut retiring = self.retiring.swap_remove(index);
            match platform.revoke(retiring.region) {
                Ok(()) => self.forget_granted(retiring.share),
                Err(region) => {
                    retiring.region = region;
                    retiring.is_quarantined |= now >= retiring.until;
                    if retiring.is_quarantined {
                        retiring.wait = (2 * retiring.wait).min(REVOKE_RETRY_MOST);
                    }
                    retiring.next = now.after(retiring.wait);
                    self.retiring.push(retiring);
                }
            }
        }
    }

    /// Makes every region due at once: this guest may have become another
    /// domain, which no peer maps.
    pub(crate) fn make_due(&mut self, now: Instant) {
        for retiring in &mut self.retiring {
            retiring.next = now;
        }
    }

    /// Returns when [`Pool::retry`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retiring.iter().map(|retiring| retiring.next).min()
    }
}
