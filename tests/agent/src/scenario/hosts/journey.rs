//! One guest on its way between the hosts, while a client on this host holds a connection to it and
//! pings it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::addresses;
use labkit::domain::lifecycle::Suspend;
use labkit::hosts::{Moved, RemoteHost};
use labkit::lines;
use labkit::migration::SaveFile;
use labkit::survival::nothing_bad;
use labkit::traffic::echo::EchoClient;
use labkit::traffic::probe::Probe;
use labkit::{Deadline, Domain, Lab};

use super::MIGRATION_LIMIT;
use super::trips::Trips;

/// The interval between two pings of the downtime probe. Three processors share two cores here.
const PING_INTERVAL: Duration = Duration::from_millis(20);

/// How soon after a migration data must flow again. dom0's TCP doubles the time between
/// retransmissions: after an outage of some seconds the next one may be as far away.
const FLOW_LIMIT_S: u64 = 60;

/// The direction of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From this host to the second one.
    There,
    /// From the second host to this one.
    Back,
}

/// A guest that migrates.
pub(super) struct Journey<'a> {
    lab: &'a Lab,
    remote: &'a RemoteHost,
    domain: &'a Domain,
    number: u8,
}

impl<'a> Journey<'a> {
    /// The journey of `domain`, which runs on this host; `number` is the last byte of its
    /// addresses.
    pub(super) fn new(
        lab: &'a Lab,
        remote: &'a RemoteHost,
        domain: &'a Domain,
        number: u8,
    ) -> Self {
        Self {
            lab,
            remote,
            domain,
            number,
        }
    }

    /// Migrates the guest once and waits until data flows on the client's connection.
    pub(super) fn step(&self, way: Way, client: &EchoClient, trips: &mut Trips) -> Result<()> {
        let probe = Probe::start(addresses::ipv4(self.number), PING_INTERVAL)?;
        let moved = self.migrate(way)?;
        let flows = client.flows(Deadline::seconds(FLOW_LIMIT_S));
        flows.with_context(|| self.last_words(way))?;
        let downtime_ms = probe.stop()?.longest_ms()?;
        self.check_place(way)?;
        trips.migrated(way, &moved, downtime_ms);
        self.lab.report.log(format!(
            "{way:?}: xl took {:.1} s, {} bytes, {} pages, downtime {downtime_ms:.0} ms",
            moved.sent.took_ms / 1000.0,
            moved.receipt.bytes,
            moved
                .pages()
                .map_or("?".to_owned(), |pages| pages.to_string()),
        ));
        if let Some(line) = self.account(way)? {
            self.lab.report.log(line);
        }
        Ok(())
    }

    /// Migrates the guest once; fails unless both ends of the toolstack succeed.
    pub(super) fn migrate(&self, way: Way) -> Result<Moved> {
        let moved = match way {
            Way::There => self
                .remote
                .migrate_there(self.domain, MIGRATION_LIMIT, None),
            Way::Back => self.remote.migrate_back(self.domain, MIGRATION_LIMIT),
        };
        let moved = moved.with_context(|| self.domain.console().tail())?;
        moved
            .check()
            .with_context(|| self.domain.console().tail())?;
        Ok(moved)
    }

    /// Fails unless the guest runs on the host that it went to, and only there.
    pub(super) fn check_place(&self, way: Way) -> Result<()> {
        let here = self.domain.entry()?;
        let there = self.remote.entry(&self.domain.name)?;
        let (at, not_at) = match way {
            Way::There => (there, here),
            Way::Back => (here, there),
        };
        let at = at.context("the domain is not where it went")?;
        if at.ended() {
            bail!("the domain has ended where it went: {}", at.flags);
        }
        if let Some(entry) = not_at {
            bail!("the domain is still where it was, as {}", entry.id);
        }
        Ok(())
    }

    /// Saves the guest here, sends the file to the second host, restores it there, and waits until
    /// data flows on the client's connection.
    pub(super) fn save_and_restore(&self, client: &EchoClient, trips: &mut Trips) -> Result<()> {
        let probe = Probe::start(addresses::ipv4(self.number), PING_INTERVAL)?;
        let file = SaveFile::fresh();
        self.domain.save(&file, false)?;
        let receipt = self.remote.restore_there(&file, MIGRATION_LIMIT)?;
        let flows = client.flows(Deadline::seconds(FLOW_LIMIT_S));
        flows.with_context(|| self.last_words(Way::There))?;
        let downtime_ms = probe.stop()?.longest_ms()?;
        self.check_place(Way::There)?;
        trips.restored(receipt.bytes, downtime_ms);
        self.lab.report.log(format!(
            "saved here, restored there: {} bytes, downtime {downtime_ms:.0} ms",
            receipt.bytes
        ));
        let account = self.account(Way::There)?;
        let account = account.context("the guest does not say that it was suspended")?;
        self.lab.report.log(account);
        Ok(())
    }

    /// Returns the guest's own line about its last suspend, if it prints one.
    fn account(&self, way: Way) -> Result<Option<String>> {
        let text = self.console(way)?;
        nothing_bad(&text).with_context(|| format!("after going {way:?}"))?;
        // A malformed line is an error; a Linux domU prints none.
        if Suspend::all(&text)?.is_empty() {
            return Ok(None);
        }
        Ok(text
            .lines()
            .rev()
            .find(|line| line.contains(lines::SUSPEND.text))
            .map(str::to_owned))
    }

    fn last_words(&self, way: Way) -> String {
        let text = self.console(way);
        let text = text.unwrap_or_else(|error| format!("{error:#}"));
        format!(
            "console after going {way:?}:\n{}",
            labkit::process::tail(&text, 15)
        )
    }

    fn console(&self, way: Way) -> Result<String> {
        match way {
            Way::There => self.remote.console(&self.domain.name),
            Way::Back => Ok(self.domain.console().text()),
        }
    }
}
