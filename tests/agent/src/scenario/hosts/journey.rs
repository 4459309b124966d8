//! One guest on its way between the hosts, while a client on this host holds a connection to it and
//! pings it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::addresses;
use labkit::domain::lifecycle::Suspend;
use labkit::hosts::{Moved, RemoteHost};
use labkit::lines;
use labkit::stats::{Spread, rounded};
use labkit::traffic::echo::{EchoClient, Traffic};
use labkit::traffic::probe::Probe;
use labkit::{Deadline, Domain, Lab};
use serde_json::{Map, Value, json};

use super::MIGRATION_LIMIT;

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

/// A guest that migrates to and fro.
pub(super) struct Journey<'a> {
    lab: &'a Lab,
    remote: &'a RemoteHost,
    domain: &'a Domain,
    number: u8,
    downtimes_ms: Vec<f64>,
    pages_sent: Vec<u64>,
    /// An entry for each migration, with what is too long for a line.
    details: Vec<Value>,
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
            downtimes_ms: Vec::new(),
            pages_sent: Vec::new(),
            details: Vec::new(),
        }
    }

    /// Migrates the guest once and waits until data flows on the client's connection.
    pub(super) fn step(&mut self, way: Way, client: &EchoClient) -> Result<()> {
        let probe = Probe::start(addresses::ipv4(self.number), PING_INTERVAL)?;
        let moved = self.migrate(way)?;
        let flows = client.flows(Deadline::seconds(FLOW_LIMIT_S));
        flows.with_context(|| self.last_words(way))?;
        let downtime_ms = probe.stop()?.longest_ms()?;
        self.check_place(way)?;
        self.downtimes_ms.push(downtime_ms);
        self.details.push(json!({
            "way": format!("{way:?}"),
            "xl_ms": rounded(moved.sent.took_ms),
            "downtime_ms": rounded(downtime_ms),
            "stream": moved.sent.stream,
        }));
        self.pages_sent.extend(moved.pages());
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

    /// Returns the guest's own line about its last suspend, if it prints one.
    fn account(&self, way: Way) -> Result<Option<String>> {
        let text = self.console(way)?;
        if let Some(line) = lines::first_bad(&text) {
            bail!("on the console after going {way:?}: {line}");
        }
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

    /// Returns the figures, each key with `prefix` before it.
    pub(super) fn result(&self, prefix: &str, traffic: &Traffic) -> Map<String, Value> {
        let spread = Spread::of(&self.downtimes_ms);
        let figures = [
            ("migrations", json!(self.downtimes_ms.len())),
            ("lost_bytes", json!(traffic.lost_bytes)),
            ("corrupt_bytes", json!(traffic.corrupt_bytes)),
            ("resets", json!(traffic.resets)),
            ("compared_bytes", json!(traffic.received_bytes)),
            ("downtime_ms", json!(spread.map(Spread::json))),
            (
                "downtime_ms_median",
                json!(spread.map(|s| rounded(s.median))),
            ),
            ("downtime_ms_max", json!(spread.map(|s| rounded(s.max)))),
            ("pages_sent", json!(self.pages_sent)),
            ("each", json!(self.details)),
        ];
        figures
            .into_iter()
            .map(|(key, value)| (format!("{prefix}{key}"), value))
            .collect()
    }

    /// Describes the journey in one line.
    pub(super) fn summary(&self, traffic: &Traffic) -> String {
        let downtime = Spread::of(&self.downtimes_ms).map_or("-".to_owned(), |spread| {
            format!("{:.0} ms, at most {:.0} ms", spread.median, spread.max)
        });
        format!(
            "{} migrations, {} bytes compared on one connection, {} lost, {} corrupt, {} resets; \
             downtime {downtime}",
            self.downtimes_ms.len(),
            traffic.received_bytes,
            traffic.lost_bytes,
            traffic.corrupt_bytes,
            traffic.resets,
        )
    }
}
