//! Regions that were granted and are to come back. A peer that still maps a
//! page gets some time; then the platform quarantines it (design rule R15).

use crate::channel::Vmc;
use crate::limits::{PAGE, REVOKE_AGAIN, REVOKE_TIMEOUT};
use crate::platform::{Instant, Platform};

pub(crate) struct Retiring<P: Platform> {
    region: P::Region,
    pages: usize,
    next: Instant,
    until: Instant,
}

impl<P: Platform> Retiring<P> {
    /// To be tried at once: this guest may have become another domain.
    pub(crate) const fn renew(&mut self, now: Instant) {
        self.next = now;
    }
}

impl<P: Platform> Vmc<P> {
    /// Ends the grants of a region of so many pages, now or soon.
    pub(crate) fn take_back(&mut self, region: P::Region, pages: usize) {
        if let Err(region) = self.platform.revoke(region) {
            let now = self.platform.now();
            self.retiring.push(Retiring {
                region,
                pages,
                next: now.after(REVOKE_AGAIN),
                until: now.after(REVOKE_TIMEOUT),
            });
        } else {
            self.stats.granted_pages = self.stats.granted_pages.saturating_sub(pages);
        }
    }

    /// Tries those again whose time has come.
    pub(crate) fn take_back_again(&mut self, now: Instant) {
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
            match self.platform.revoke(region) {
                Err(region) if now < until => {
                    let next = now.after(REVOKE_AGAIN);
                    self.retiring.push(Retiring {
                        region,
                        pages,
                        next,
                        until,
                    });
                }
                gone => {
                    // Dropping it quarantines its pages.
                    if gone.is_err() {
                        self.stats.quarantined_pages += pages;
                    }
                    self.stats.granted_pages = self.stats.granted_pages.saturating_sub(pages);
                }
            }
        }
    }

    /// Whether so many pages more may be granted. Those in quarantine count:
    /// a peer that gives nothing back shall not drain the guest.
    pub(crate) fn may_grant(&self, pages: usize) -> bool {
        let taken = self.stats.granted_pages + self.stats.quarantined_pages;
        taken + pages <= self.config.memory / PAGE
    }

    pub(crate) fn take_back_at(&self) -> Option<Instant> {
        self.retiring.iter().map(|retiring| retiring.next).min()
    }
}
