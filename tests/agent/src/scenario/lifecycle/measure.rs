//! One migration to the same host, with pings throughout.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use labkit::meter::StreamReport;
use labkit::migration::{Options, migrate};
use labkit::traffic::probe::Probe;
use labkit::{Domain, Figures, Lab};

/// The interval between two pings: the precision of the downtime.
const INTERVAL: Duration = Duration::from_millis(5);

const PAGES_PER_MIB: u64 = 256;

/// How long to ping before and after, so that an outage has two ends.
const MARGIN: Duration = Duration::from_millis(200);

/// Runs `action` under pings; also returns the longest outage in milliseconds and the number of
/// pings lost.
pub(super) fn probed<T>(
    ip: Ipv4Addr,
    action: impl FnOnce() -> Result<T>,
) -> Result<(T, f64, usize)> {
    let probe = Probe::start(ip, INTERVAL)?;
    sleep(MARGIN);
    let value = action()?;
    sleep(MARGIN);
    let log = probe.stop()?;
    let ms = log.longest_ms().context("the probe")?;
    Ok((value, ms, log.lost()))
}

/// The figures of migrations, a value for each.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) downtime_ms: Vec<f64>,
    lost_pings: Vec<f64>,
    took_ms: Vec<f64>,
    pages_sent: Vec<f64>,
    stop_and_copy_pages: Vec<f64>,
    empty_entries: Vec<f64>,
    stream_bytes: Vec<f64>,
    steps_ms: [Vec<f64>; 4],
    v_mem_pages: Option<u64>,
}

impl Rows {
    /// Migrates `domain` once to its own host and waits for `back`. Returns the result of `back`.
    pub(super) fn migrate<T>(
        &mut self,
        lab: &Lab,
        domain: &Domain,
        ip: Option<Ipv4Addr>,
        back: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let number = self.took_ms.len() + 1;
        let whole = || -> Result<_> {
            let migration = migrate(domain, &Options::default())?.expect_success()?;
            Ok((migration, back()?))
        };
        let measured = match ip {
            Some(ip) => probed(ip, whole).map(|(value, ms, lost)| (value, Some((ms, lost)))),
            None => whole().map(|value| (value, None)),
        };
        let ((migration, found), outage) =
            measured.with_context(|| format!("migration {number}"))?;
        let stream = migration.stream()?;
        let took_ms = migration.took.as_secs_f64() * 1000.0;
        self.took_ms.push(took_ms);
        self.downtime_ms.extend(outage.map(|(ms, _)| ms));
        self.lost_pings.extend(outage.map(|(_, lost)| lost as f64));
        self.pages_sent.push(stream.pages_sent as f64);
        let last = stream.stop_and_copy().map(|round| round.pages as f64);
        self.stop_and_copy_pages.extend(last);
        self.empty_entries.push(stream.entries_empty as f64);
        self.stream_bytes.push(stream.bytes as f64);
        for (values, step) in self.steps_ms.iter_mut().zip(steps_ms(stream)) {
            values.extend(step);
        }
        self.v_mem_pages = stream.v_mem_pages;
        let down = match outage {
            Some((ms, lost)) => format!("down {ms:.1} ms, {lost} pings lost"),
            None => "not probed".to_owned(),
        };
        lab.report.log(format!(
            "migration {number}: {took_ms:.0} ms, {down}, {} pages in {} rounds",
            stream.pages_sent,
            stream.rounds.len()
        ));
        Ok(found)
    }

    /// Adds them to the figures under keys that begin with `prefix`. The domain has `memory_mib`
    /// MiB, which are V_mem where the stream does not say it: that of a PVH guest names only the
    /// pages that it carries.
    pub(super) fn keep(&self, lab: &Lab, prefix: &str, memory_mib: u64, figures: &mut Figures) {
        let v_mem = self.v_mem_pages.unwrap_or(memory_mib * PAGES_PER_MIB);
        let r_d: Vec<f64> = self
            .pages_sent
            .iter()
            .map(|sent| sent / v_mem as f64)
            .collect();
        for (name, values) in [
            ("downtime_ms", &self.downtime_ms),
            ("lost_pings", &self.lost_pings),
            ("migrate_ms", &self.took_ms),
            ("pages_sent", &self.pages_sent),
            ("stop_and_copy_pages", &self.stop_and_copy_pages),
            ("r_d", &r_d),
            ("empty_entries", &self.empty_entries),
            ("stream_bytes", &self.stream_bytes),
        ] {
            figures.spread(lab, &format!("{prefix}{name}"), values);
        }
        for (name, values) in STEPS.iter().zip(&self.steps_ms) {
            figures.spread(lab, &format!("{prefix}{name}"), values);
        }
        figures.value(lab, &format!("{prefix}v_mem_pages"), v_mem.into());
    }
}

/// What the toolstack does while the domain is suspended (tools/xl/xl_migrate.c): it sends the last
/// round of pages; the target builds the domain with its devices; the source renames its own and
/// allows the start; the target starts it.
const STEPS: [&str; 4] = [
    "step_last_round_ms",
    "step_build_ms",
    "step_hand_over_ms",
    "step_start_ms",
];

/// Returns how long each of [`STEPS`] took; `None` if the meter did not see both ends.
fn steps_ms(stream: &StreamReport) -> [Option<f64>; 4] {
    let words = &stream.handshake;
    let last = stream.stop_and_copy();
    let between = |from: Option<f64>, to: Option<f64>| Some(to? - from?);
    let last_end = last.map(|round| round.end_ms);
    [
        between(last.map(|round| round.start_ms), last_end),
        between(last_end, words.ready_ms),
        between(words.ready_ms, words.go_ms),
        between(words.go_ms, words.report_ms),
    ]
}
