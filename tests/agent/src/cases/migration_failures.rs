//! Migrations that fail: the guest goes on where it was, and so does its connection.
//!
//! Every case holds one TCP connection throughout, on which each byte must come back. If the
//! failure comes before stop-and-copy, the guest is never suspended; if it comes after, the guest
//! resumes in the domain that it was suspended in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use labkit::domain::lifecycle::{Outcome, Suspend};
use labkit::meter::{Ended, StreamReport};
use labkit::migration::{Kill, Migration, Options, Target, clean_up, migrate, start};
use labkit::process::tail;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Case, Deadline, Domain, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("migration_cut", 300, cut).live(),
    Case::new("migration_refused_and_killed", 300, refused_and_killed).live(),
];

/// The guest's memory in MiB, small because the toolstack's work grows with it.
const MEMORY_MIB: u64 = 16;

/// How long a migration of it may take on an emulated machine.
const LIMIT: Duration = Duration::from_secs(90);

/// How long the echo may stay away after a failure. Lost packets are sent again after a few seconds
/// (smoltcp's and Linux's retransmission timers).
const FLOW_LIMIT: Duration = Duration::from_secs(30);

/// How long the target's xl may take to remove what it could not complete.
const GRACE: Duration = Duration::from_secs(15);

/// Where to cut the transport, in percent of the bytes of a whole migration.
const CUTS: [u64; 3] = [10, 50, 99];

/// After how many page contents xl is killed. Even a guest that uses little memory has some
/// hundreds.
const KILL_PAGE: u64 = 100;

/// The bandwidth of a migration that is to be killed, in Mbit/s: about 240 pages a second, slow
/// enough to kill it in time.
const KILL_MBIT: u64 = 8;

/// How often a cut is attempted. Two streams of the same guest differ in length, so a cut near the
/// end may miss.
const ATTEMPTS: usize = 3;

/// A guest with a connection to it.
struct Patient {
    domain: Domain,
    client: EchoClient,
    domid: u32,
}

impl Patient {
    fn start(lab: &Lab) -> Result<Self> {
        let guest = lab.echo(2, MEMORY_MIB, "");
        let domain = guest.start_ready()?;
        let client = EchoClient::start(guest.port(7), lab.seed()?, Pace::Modest)?;
        let domid = domain.running()?.id;
        let patient = Self {
            domain,
            client,
            domid,
        };
        patient.flows()?;
        Ok(patient)
    }

    fn options() -> Options {
        Options {
            limit: LIMIT,
            ..Options::default()
        }
    }

    fn flows(&self) -> Result<()> {
        let flows = self.client.flows(Deadline::after(FLOW_LIMIT));
        flows.with_context(|| self.domain.console().tail())
    }

    /// Migrates the guest to this host, to the end.
    fn move_house(&mut self) -> Result<Migration> {
        let migration = migrate(&self.domain, &Self::options())?.expect_success()?;
        let domid = self.domain.running()?.id;
        ensure!(
            domid != self.domid,
            "still domain {domid} after a migration"
        );
        self.domid = domid;
        self.flows().context("after a good migration")?;
        Ok(migration)
    }

    /// Checks that a failed migration has left the guest as it was, and removes what the toolstack
    /// left.
    fn unharmed(&self, lab: &Lab, what: &str, grace: Duration) -> Result<()> {
        let start = Instant::now();
        let left = clean_up(&self.domain, grace)?;
        let cleaned = start.elapsed().as_secs_f64();
        let domid = self.domain.running().context(what.to_owned())?.id;
        ensure!(
            domid == self.domid,
            "{what}: the guest is domain {domid}, and was {}",
            self.domid
        );
        ensure!(!left.migrated_away, "{what}: the source had let it go");
        self.flows().with_context(|| format!("after {what}"))?;
        let echoed = start.elapsed().as_secs_f64();
        lab.report.log(format!(
            "{what}: unharmed; {left:?} removed after {cleaned:.1} s, an echo after {echoed:.1} s"
        ));
        Ok(())
    }

    /// Returns how many cancelled suspends the guest has reported.
    fn cancelled(&self) -> Result<usize> {
        let all = Suspend::all(&self.domain.console().text())?;
        let cancelled = all.iter().filter(|s| s.outcome == Outcome::Cancelled);
        Ok(cancelled.count())
    }

    /// Ends the connection, checks that no byte is missing, and describes the traffic.
    fn discharge(self) -> Result<String> {
        let traffic = self.client.stop(FLOW_LIMIT)?;
        traffic
            .check()
            .with_context(|| self.domain.console().tail())?;
        self.domain.running()?;
        let bytes = traffic.sent_bytes;
        let gap = traffic.longest_gap_ms;
        Ok(format!("{bytes} bytes echoed, longest gap {gap:.0} ms"))
    }
}

/// Cuts the transport at 10, 50 and 99 percent of the stream.
fn cut(lab: &Lab) -> Result<String> {
    let mut patient = Patient::start(lab)?;
    let mut whole = complete(&patient.move_house()?)?.bytes;
    let mut cuts = Vec::new();
    for percent in CUTS {
        let before = patient.cancelled()?;
        let mut attempts = 0;
        let passed = loop {
            attempts += 1;
            let at = whole * percent / 100;
            let options = Options {
                cut_after: Some(at),
                ..Patient::options()
            };
            let migration = migrate(&patient.domain, &options)?;
            if migration.succeeded && attempts < ATTEMPTS {
                // This stream was shorter than the one before.
                whole = complete(&migration)?.bytes;
                patient.domid = patient.domain.running()?.id;
                patient.flows()?;
                continue;
            }
            let migration = migration.expect_failure()?;
            let stream = migration.stream()?;
            if stream.ended != Ended::ByCut {
                let output = tail(&migration.output, 8);
                bail!("not cut at {percent} %, but {:?}: {output}", stream.ended);
            }
            break stream.bytes;
        };
        let what = format!("cut at {percent} % of {whole} bytes");
        patient.unharmed(lab, &what, GRACE)?;
        let suspended = patient.cancelled()? - before;
        cuts.push(format!(
            "{percent} % ({passed} bytes, suspends {suspended})"
        ));
    }
    // The failures do not hinder a migration without one.
    complete(&patient.move_house()?)?;
    let traffic = patient.discharge()?;
    Ok(format!(
        "of {whole} bytes cut at {}; {traffic}",
        cuts.join(", ")
    ))
}

/// Lets the target refuse, then kills `xl migrate`, each in several ways.
fn refused_and_killed(lab: &Lab) -> Result<String> {
    let mut patient = Patient::start(lab)?;
    refused(lab, &patient)?;
    killed(lab, &patient)?;
    ensure!(patient.cancelled()? == 0, "the guest was suspended for it");
    complete(&patient.move_house()?)?;
    patient.discharge()
}

/// The target's program exits at once, answers nonsense, or gives up in the middle.
fn refused(lab: &Lab, patient: &Patient) -> Result<()> {
    let banner = r"printf 'xl migration receiver ready, send binary domain data.\n'";
    for (what, command) in [
        ("a target that exits", "exit 1".to_owned()),
        (
            "a target that talks nonsense",
            "echo no such program here, and none that is like it, not at all".to_owned(),
        ),
        (
            "a target that gives up",
            format!("{banner}; head -c 500000 >/dev/null"),
        ),
    ] {
        let options = Options {
            target: Target::Elsewhere(command),
            ..Patient::options()
        };
        let migration = migrate(&patient.domain, &options)?.expect_failure()?;
        let ended = migration.stream()?.ended;
        if ended == Ended::Answered || ended == Ended::ByCut {
            bail!("{what}: the stream ended {ended:?}");
        }
        patient.unharmed(lab, what, GRACE)?;
    }
    Ok(())
}

/// Kills `xl migrate` in the middle of the pre-copy, alone and with its whole group.
fn killed(lab: &Lab, patient: &Patient) -> Result<()> {
    for (kill, what, grace) in [
        (Kill::Xl, "xl killed", GRACE),
        // Nobody is left to clean up.
        (Kill::Group, "xl and its group killed", Duration::ZERO),
    ] {
        let options = Options {
            bandwidth_mbit: Some(KILL_MBIT),
            progress: true,
            ..Patient::options()
        };
        let mut running = start(&patient.domain, &options)?;
        running.wait_for_page(KILL_PAGE, Deadline::after(LIMIT))?;
        running.kill(kill);
        let seen = running.pages();
        running.wait()?.expect_failure()?;
        patient.unharmed(lab, &format!("{what} at page {seen}"), grace)?;
    }
    Ok(())
}

/// Returns the report about a stream that must be complete.
fn complete(migration: &Migration) -> Result<&StreamReport> {
    let stream = migration.stream()?;
    if let Some(why) = &stream.not_understood {
        bail!("the meter does not understand the stream: {why}");
    }
    ensure!(stream.complete, "the stream has no end: {:?}", stream.ended);
    Ok(stream)
}
