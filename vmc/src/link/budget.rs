//! How many pages are granted and mapped, and who may have more.
//!
//! A budget belongs to a domain (design rule R18): what one had in the form of
//! another link, under another address, or has not given back, counts. The
//! [`Pool`] is that of the whole guest. A region that is taken back while the peer
//! still maps it gets some time; then it counts as quarantined (R15), and is tried
//! less often: the peer may die, and its mappings with it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::limits::{REVOKE_RETRY, REVOKE_RETRY_MOST, REVOKE_TIMEOUT};
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

/// Pages granted to one domain, for as long as they count against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) domid: DomId,
    pub(crate) pages: usize,
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

/// What one domain has of this guest, and this guest of it, in pages.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    granted: usize,
    mapped: usize,
}

/// Pages of this guest that peers may map, and of peers that it maps.
pub(crate) struct Pool<P: Platform> {
    /// Most pages granted, and most pages mapped.
    limit: usize,
    granted: usize,
    mapped: usize,
    /// Domains that have something.
    domains: BTreeMap<DomId, Budget>,
    retiring: Vec<Retiring<P>>,
}

impl<P: Platform> Pool<P> {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            granted: 0,
            mapped: 0,
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

    fn of_domain(&self, domid: DomId) -> Budget {
        self.domains.get(&domid).copied().unwrap_or_default()
    }

    fn change(&mut self, domid: DomId, change: impl FnOnce(&mut Budget)) {
        let budget = self.domains.entry(domid).or_default();
        change(budget);
        if budget.granted + budget.mapped == 0 {
            self.domains.remove(&domid);
        }
    }

    /// Returns the most pages for one domain: a link, and half of the pool for its
    /// rings.
    const fn share(&self) -> usize {
        self.limit / 2 + LINK_PAGES
    }

    /// Checks that `pages` more may be granted to a domain.
    pub(crate) fn may_grant(&self, domid: DomId, pages: usize) -> Result<(), NoRoom> {
        if self.of_domain(domid).granted + pages > self.share() {
            Err(NoRoom::Link)
        } else if self.granted + pages > self.limit {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }

    /// Checks that `pages` more of a domain may be mapped.
    pub(crate) fn may_map(&self, domid: DomId, pages: usize) -> Result<(), NoRoom> {
        if self.of_domain(domid).mapped + pages > self.share() {
            Err(NoRoom::Link)
        } else if self.mapped + pages > self.limit {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }

    /// Counts pages that were granted. They count until [`Pool::take_back`] has
    /// taken them back.
    pub(crate) fn count_granted(&mut self, share: Share) {
        self.granted += share.pages;
        self.change(share.domid, |budget| budget.granted += share.pages);
    }

    /// Forgets pages that are granted to nobody any more.
    pub(crate) fn forget_granted(&mut self, share: Share) {
        self.granted = self.granted.saturating_sub(share.pages);
        self.change(share.domid, |budget| {
            budget.granted = budget.granted.saturating_sub(share.pages);
        });
    }

    pub(crate) fn count_mapped(&mut self, domid: DomId, pages: usize) {
        self.mapped += pages;
        self.change(domid, |budget| budget.mapped += pages);
    }

    /// Pages of a domain were unmapped.
    pub(crate) fn count_unmapped(&mut self, domid: DomId, pages: usize) {
        self.mapped = self.mapped.saturating_sub(pages);
        self.change(domid, |budget| {
            budget.mapped = budget.mapped.saturating_sub(pages);
        });
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
