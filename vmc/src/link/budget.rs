//! How many pages are granted and mapped, and who may have more.
//!
//! The [`Pool`] counts for the whole guest, a [`Budget`] for one link. A region
//! that is taken back while the peer still maps it gets some time; then the
//! platform quarantines its pages (design rule R15).

use alloc::vec::Vec;

use crate::limits::{REVOKE_RETRY, REVOKE_TIMEOUT};
use crate::platform::{Instant, Platform};

/// Which limit leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// One of the link: its share of the pool, or its ring numbers.
    Link,
    /// One of the guest: the pool, or what the platform has.
    Guest,
    /// The peer's: it refused, or was asked and has not answered yet.
    Peer,
}

/// A region that the peer still maps.
struct Retiring<P: Platform> {
    region: P::Region,
    pages: usize,
    next: Instant,
    until: Instant,
}

/// Pages of this guest that peers may map, and of peers that it maps.
pub(crate) struct Pool<P: Platform> {
    /// Most pages granted, and most pages mapped.
    limit: usize,
    granted: usize,
    mapped: usize,
    quarantined: usize,
    retiring: Vec<Retiring<P>>,
}

impl<P: Platform> Pool<P> {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            granted: 0,
            mapped: 0,
            quarantined: 0,
            retiring: Vec::new(),
        }
    }

    pub(crate) const fn granted(&self) -> usize {
        self.granted
    }

    pub(crate) const fn mapped(&self) -> usize {
        self.mapped
    }

    pub(crate) const fn quarantined(&self) -> usize {
        self.quarantined
    }

    pub(crate) const fn retiring(&self) -> usize {
        self.retiring.len()
    }

    /// Whether `pages` more may be granted. Those in quarantine count: a peer
    /// that gives nothing back must not drain the guest.
    pub(crate) const fn may_grant(&self, pages: usize) -> bool {
        self.granted + self.quarantined + pages <= self.limit
    }

    /// Whether `pages` more may be mapped.
    pub(crate) const fn may_map(&self, pages: usize) -> bool {
        self.mapped + pages <= self.limit
    }

    /// Counts a region that was granted without a link, to be taken back.
    pub(crate) const fn count_granted(&mut self, pages: usize) {
        self.granted += pages;
    }

    /// Forgets the pages of a region that is granted to nobody any more.
    pub(crate) const fn forget_granted(&mut self, pages: usize) {
        self.granted = self.granted.saturating_sub(pages);
    }

    /// Ends the grants of a region, now or soon.
    pub(crate) fn take_back(&mut self, platform: &mut P, region: P::Region, pages: usize) {
        match platform.revoke(region) {
            Ok(()) => self.forget_granted(pages),
            Err(region) => {
                let now = platform.now();
                self.retiring.push(Retiring {
                    region,
                    pages,
                    next: now.after(REVOKE_RETRY),
                    until: now.after(REVOKE_TIMEOUT),
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
            let Retiring {
                region,
                pages,
                until,
                ..
            } = self.retiring.swap_remove(index);
            match platform.revoke(region) {
                Err(region) if now < until => self.retiring.push(Retiring {
                    region,
                    pages,
                    next: now.after(REVOKE_RETRY),
                    until,
                }),
                Err(region) => {
                    self.quarantined += pages;
                    self.forget_granted(pages);
                    // The platform keeps its pages from any other use.
                    drop(region);
                }
                Ok(()) => self.forget_granted(pages),
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

    /// Forgets the quarantine, which ends with the domain that was mapped.
    pub(crate) const fn end_quarantine(&mut self) {
        self.quarantined = 0;
    }

    /// Returns when [`Pool::retry`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retiring.iter().map(|retiring| retiring.next).min()
    }
}

/// The part of the pool that one link takes: half of it at most.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    granted: usize,
    mapped: usize,
}

impl Budget {
    /// Checks that `pages` more may be granted to the link's peer.
    pub(crate) const fn may_grant<P: Platform>(
        &self,
        pool: &Pool<P>,
        pages: usize,
    ) -> Result<(), NoRoom> {
        if self.granted + pages > pool.limit / 2 {
            Err(NoRoom::Link)
        } else if !pool.may_grant(pages) {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }

    /// Checks that `pages` more of the link's peer may be mapped.
    pub(crate) const fn may_map<P: Platform>(
        &self,
        pool: &Pool<P>,
        pages: usize,
    ) -> Result<(), NoRoom> {
        if self.mapped + pages > pool.limit / 2 {
            Err(NoRoom::Link)
        } else if !pool.may_map(pages) {
            Err(NoRoom::Guest)
        } else {
            Ok(())
        }
    }

    pub(crate) const fn count_granted<P: Platform>(&mut self, pool: &mut Pool<P>, pages: usize) {
        self.granted += pages;
        pool.granted += pages;
    }

    pub(crate) const fn count_mapped<P: Platform>(&mut self, pool: &mut Pool<P>, pages: usize) {
        self.mapped += pages;
        pool.mapped += pages;
    }

    /// The link has no claim to a granted region any more; the pool counts its
    /// pages until they are taken back.
    pub(crate) const fn hand_over(&mut self, pages: usize) {
        self.granted -= pages;
    }

    /// Pages of the peer were unmapped.
    pub(crate) const fn count_unmapped<P: Platform>(&mut self, pool: &mut Pool<P>, pages: usize) {
        self.mapped -= pages;
        pool.mapped -= pages;
    }

    /// Everything that the link had mapped goes with it.
    pub(crate) const fn unmap_all<P: Platform>(&mut self, pool: &mut Pool<P>) {
        pool.mapped = pool.mapped.saturating_sub(self.mapped);
        self.mapped = 0;
    }
}
