//! What the victim counts, and what it may have counted after an attack.

use anyhow::{Context, Result};
use attacks::Attack;
use labkit::channel::ChannelStatus;
use labkit::lines;
use labkit::survival::counts;
use labkit::{Cause, Domain};

/// What the victim has counted.
pub(super) struct Tally {
    pub(super) status: ChannelStatus,
    /// Grants without those of the network device, whose pool grows under load.
    grants: u64,
    ports: u64,
}

impl Tally {
    pub(super) fn of(victim: &Domain) -> Result<Self> {
        let status = ChannelStatus::of(victim)?;
        let counts = counts(victim)?;
        Ok(Self {
            status,
            grants: counts.grants - device_pages(victim)?,
            ports: counts.ports,
        })
    }

    /// Returns how many links ended because of `cause` since `before`.
    fn ended(&self, cause: Cause, before: &Self) -> Result<u64> {
        Ok(self.status.ended(cause)? - before.status.ended(cause)?)
    }

    /// Returns how this differs from what is expected after `attack`, if it does; `first` was taken
    /// before all attacks.
    pub(super) fn differs(
        &self,
        attack: Attack,
        before: &Self,
        first: &Self,
    ) -> Result<Option<String>> {
        for cause in Cause::ALL {
            // An attacker that claims to be suspended leaves links behind in that state.
            if matches!(cause, Cause::Suspended | Cause::PeerSuspended) {
                continue;
            }
            let expected = attack.expected(cause);
            let seen = self.ended(cause, before)?;
            let right = seen == expected || (seen > expected && attack.may_exceed(cause));
            if !right {
                return Ok(Some(format!("{cause:?} {seen} times and not {expected}")));
            }
        }
        let kept = [
            ("grants", self.grants, first.grants),
            ("ports", self.ports, first.ports),
            ("retiring", self.status.of_all("retiring")?, 0),
            ("quarantined", self.status.of_all("quarantined")?, 0),
            ("unsettled", self.status.of_all("unsettled")?, 0),
            (
                "granted",
                self.status.of_all("granted")?,
                first.status.of_all("granted")?,
            ),
            (
                "mapped",
                self.status.of_all("mapped")?,
                first.status.of_all("mapped")?,
            ),
        ];
        let wrong = kept.iter().find(|(_, seen, wanted)| seen != wanted);
        Ok(wrong.map(|(name, seen, wanted)| format!("{name} {seen} and not {wanted}")))
    }
}

/// Returns the pages that the victim's network device has granted, by its last answer to `status`.
fn device_pages(victim: &Domain) -> Result<u64> {
    let text = victim.console().text();
    let line = text
        .lines()
        .rfind(|line| line.contains(lines::STATUS_LINK.text));
    let pages = line.and_then(|line| line.rsplit_once(" pages ")?.1.trim().parse().ok());
    pages.with_context(|| format!("no pages in {line:?}"))
}
