//! `virsh migrate --live` to the second host and back, under a connection from this host.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use labkit::domain::can_migrate_live;
use labkit::domain::lifecycle::{Outcome, Suspend};
use labkit::hosts::RemoteHost;
use labkit::libvirt::{Daemon, Managed};
use labkit::process::tail;
use labkit::stats::Spread;
use labkit::survival::{none_left, nothing_bad};
use labkit::traffic::compared::Compared;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::traffic::probe::Probe;
use labkit::{Case, Deadline, Lab};
use serde_json::{Map, json};

use super::ladder::boot;
use super::{Parameters, example, flows, guest};

pub(super) const CASES: &[Case] = &[Case::new("libvirt_journey", 900, journey)];

/// The limit of one migration.
const MIGRATION_LIMIT: Duration = Duration::from_secs(240);

/// The interval between two pings of the downtime probe. Three processors share two cores here.
const PING_INTERVAL: Duration = Duration::from_millis(20);

/// libvirt's message if Xen cannot log dirty pages (libxl_migration.c:libxlDoMigrateSrcSend).
const REFUSAL: &str = "Failed to send migration data to destination host";

/// How long the guest may take to tell of its suspend.
const ACCOUNT_S: u64 = 30;

/// How long bytes under way may take to come back at the end.
const DRAIN: Duration = Duration::from_secs(30);

fn journey(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let live = can_migrate_live(lab.job.guest)?;
    let managed = Managed::define(&lab.part, &example::xml(lab.job.guest, &lab.part)?)?;
    boot(lab, &managed)?;
    let client = EchoClient::start(guest(lab).port(7), lab.seed()?, Pace::Modest)?;
    flows(&client)?;
    let mut journey = Journey {
        lab,
        remote: RemoteHost::find(Deadline::seconds(60))?,
        managed: &managed,
        client: &client,
        downtimes_ms: Vec::new(),
        took_ms: Vec::new(),
    };
    let travelled = if live {
        (0..params.round_trips).try_for_each(|_| {
            journey.step(&Daemon::here(), &Daemon::second())?;
            journey.step(&Daemon::second(), &Daemon::here())
        })
    } else {
        journey.refused()
    };
    let (downtimes_ms, took_ms) = (journey.downtimes_ms, journey.took_ms);
    let traffic = client.stop(DRAIN)?;
    // The figures of a journey that failed show how far it came.
    let compared = Compared::from(&traffic);
    lab.report.result(compared.figures("journey_"));
    let figures = [
        ("migrations", json!(downtimes_ms.len())),
        (
            "downtime_ms",
            json!(Spread::of(&downtimes_ms).map(Spread::json)),
        ),
        ("migrate_ms", json!(Spread::of(&took_ms).map(Spread::json))),
    ];
    let figures = figures.map(|(key, value)| (key.to_owned(), value));
    lab.report.result(Map::from_iter(figures));
    travelled?;
    traffic.check()?;
    none_left(&[managed.domain()])?;
    Ok(format!("{} migrations, {compared}", downtimes_ms.len()))
}

/// A guest that migrates to and fro.
struct Journey<'a> {
    lab: &'a Lab,
    remote: RemoteHost,
    managed: &'a Managed,
    client: &'a EchoClient,
    downtimes_ms: Vec<f64>,
    took_ms: Vec<f64>,
}

impl Journey<'_> {
    /// Migrates the guest once and waits until data flows on the client's connection.
    fn step(&mut self, from: &Daemon, to: &Daemon) -> Result<()> {
        let name = &self.managed.domain().name;
        let probe = Probe::start(guest(self.lab).ip(), PING_INTERVAL)?;
        let begin = Instant::now();
        let output = self.managed.migrate(from, to, MIGRATION_LIMIT)?;
        let took_ms = begin.elapsed().as_secs_f64() * 1000.0;
        if !output.status.success() {
            bail!(
                "virsh migrate ({}): {}",
                output.status,
                tail(&output.text, 12)
            );
        }
        let flowing = flows(self.client);
        flowing.with_context(|| format!("consoles:\n{}", self.consoles()))?;
        let downtime_ms = probe.stop()?.longest_ms()?;
        self.downtimes_ms.push(downtime_ms);
        self.took_ms.push(took_ms);
        let state = to.state(name)?;
        ensure!(
            state.as_deref() == Some("running"),
            "the daemon that it went to says {state:?}"
        );
        let left = from.state(name)?;
        ensure!(
            left.as_deref().is_none_or(|state| state == "shut off"),
            "the daemon that it left says {left:?}"
        );
        let suspend = self.account(to.domid(name)?)?;
        self.lab.report.log(format!(
            "migration {}: virsh took {:.1} s, downtime {downtime_ms:.0} ms, {suspend:?}",
            self.took_ms.len(),
            took_ms / 1000.0,
        ));
        Ok(())
    }

    /// Expects libvirt to refuse a migration, and the guest to go on where it is.
    fn refused(&self) -> Result<()> {
        let domain = self.managed.domain();
        let before = domain.running()?.id;
        let output = self
            .managed
            .migrate(&Daemon::here(), &Daemon::second(), MIGRATION_LIMIT)?;
        let message = tail(&output.text, 5);
        ensure!(
            !output.status.success(),
            "migrated by a Xen that cannot: {message}"
        );
        ensure!(message.contains(REFUSAL), "refused otherwise: {message}");
        self.lab.report.log(format!("virsh migrate: {message}"));
        let figures = [("refusal".to_owned(), json!(message))];
        self.lab.report.result(Map::from_iter(figures));
        flows(self.client)?;
        let after = domain.running()?.id;
        ensure!(before == after, "domid {before} has become {after}");
        self.managed.expect_state("running")?;
        let there = self.remote.entry(&domain.name)?;
        ensure!(there.is_none(), "host b has it too: {there:?}");
        Ok(())
    }

    /// Waits for the guest's account of its latest suspend, in the domain `domid`.
    fn account(&self, domid: u32) -> Result<Suspend> {
        let number = self.took_ms.len() as u64;
        let what = format!("the guest's line about suspend {number}");
        let deadline = Deadline::seconds(ACCOUNT_S);
        let suspend = deadline.poll(Duration::from_millis(500), &what, || {
            let text = self.consoles();
            nothing_bad(&text)?;
            let mut all = Suspend::all(&text)?.into_iter();
            Ok(all.find(|suspend| suspend.number == number))
        })?;
        ensure!(
            suspend.outcome == Outcome::NewDomain(domid),
            "the domain is {domid}, the guest says {:?}",
            suspend.outcome
        );
        Ok(suspend)
    }

    /// Returns what the guest has printed on this host, and then on the other.
    fn consoles(&self) -> String {
        let domain = self.managed.domain();
        let there = self.remote.console(&domain.name);
        let there = there.unwrap_or_else(|error| format!("{error:#}"));
        format!("{}{there}", domain.console().text())
    }
}
