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

/// Pages granted to domains, or mapped from them.
struct Account {
    /// All of them, those of links included.
    pages: usize,
    /// Those of rings.
    rings: usize,
    /// The same of each domain that has rings.
    domains: BTreeMap<DomId, usize>,
}

impl Account {
    const fn new() -> Self {
        Self {
            pages: 0,
            rings: 0,
            domains: BTreeMap::new(),
        }
    }

    fn add(&mut self, share: Share) {
        self.pages += share.pages;
        if share.purpose == Use::Ring {
            self.rings += share.pages;
            *self.domains.entry(share.domid).or_default() += share.pages;
        }
    }

    fn remove(&mut self, share: Share) {
        self.pages = self.pages.saturating_sub(share.pages);
        if share.purpose == Use::Ring {
            self.rings = self.rings.saturating_sub(share.pages);
            let left = self.of_domain(share.domid).saturating_sub(share.pages);
            if left > 0 {
                self.domains.insert(share.domid, left);
            } else {
                self.domains.remove(&share.domid);
            }
        }
    }

    fn of_domain(&self, domid: DomId) -> usize {
        self.domains.get(&domid).copied().unwrap_or_default()
    }

    /// Checks that a domain may have a ring of `pages`, if there are `limit` for all.
    fn check_room(&self, limit: usize, domid: DomId, pages: usize) -> Result<(), NoRoom> {
        if self.of_domain(domid) + pages > limit / 2 {
            Err(NoRoom::Link)
        } else if self.rings + pages > limit {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }
}

/// Pages of this guest that peers may map, and of peers that it maps.
pub(crate) struct Pool<P: Platform> {
    /// Most pages of rings granted, and most mapped.
    limit: usize,
    /// Most links that have ended and that peers still map.
    most_kept: usize,
    granted: Account,
    mapped: Account,
    retiring: Vec<Retiring<P>>,
}

impl<P: Platform> Pool<P> {
    /// Returns the pool of a guest with `limit` pages for rings, and `max_peers`
    /// places for links.
    pub(crate) const fn new(limit: usize, max_peers: usize) -> Self {
        Self {
            limit,
            most_kept: KEPT_LINKS * max_peers,
            granted: Account::new(),
            mapped: Account::new(),
            retiring: Vec::new(),
        }
    }

    /// Returns the pages granted, those in quarantine included.
    pub(crate) const fn granted(&self) -> usize {
        self.granted.pages
    }

    pub(crate) const fn mapped(&self) -> usize {
        self.mapped.pages
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

    /// Checks that a link region may be granted to a domain. One that the domain has
    /// unmapped since it was last looked at does not count.
    pub(crate) fn may_offer(&mut self, platform: &mut P, domid: DomId) -> Result<(), NoRoom> {
        let room = self.check_kept(domid);
        if room.is_ok() {
            return room;
        }
        let now = platform.now();
        for retiring in &mut self.retiring {
            if retiring.share.purpose == Use::Link {
                retiring.next = now;
            }
        }
        self.retry(platform, now);
        self.check_kept(domid)
    }

    /// Checks how many links have ended and are still mapped: by a domain, and by all.
    fn check_kept(&self, domid: DomId) -> Result<(), NoRoom> {
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
        self.granted.check_room(self.limit, domid, pages)
    }

    /// Checks that a ring of `pages` of a domain may be mapped.
    pub(crate) fn may_map(&self, domid: DomId, pages: usize) -> Result<(), NoRoom> {
        self.mapped.check_room(self.limit, domid, pages)
    }

    /// Counts pages that were granted. They count until [`Pool::take_back`] has
    /// taken them back.
    pub(crate) fn count_granted(&mut self, share: Share) {
        self.granted.add(share);
    }

    /// Forgets pages that are granted to nobody any more.
    pub(crate) fn forget_granted(&mut self, share: Share) {
        self.granted.remove(share);
    }

    /// Counts pages of a domain that were mapped.
    pub(crate) fn count_mapped(&mut self, share: Share) {
        self.mapped.add(share);
    }

    /// Pages of a domain were unmapped.
    pub(crate) fn count_unmapped(&mut self, share: Share) {
        self.mapped.remove(share);
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
