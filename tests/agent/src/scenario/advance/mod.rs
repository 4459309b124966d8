//! `advance`: two guests talk as fast as they can while one of them migrates, in each mode of the
//! channel.
//!
//! [`arm`] runs one mode with the two guests of [`pair`]: [`idle`] migrates an idle guest, [`once`]
//! a guest under a saturating stream with all its measurements, [`quiesce`] a guest with many
//! connections. [`rows`] collects the results, [`goals`] compares them with the goals.

mod arm;
mod goals;
mod idle;
mod once;
mod pair;
mod quiesce;
mod rows;

use anyhow::{Result, bail};
use labkit::domain::xen_version;
use labkit::parameters::{Modes, ParameterTable};
use labkit::scenario::{Clock, Work, minutes};
use labkit::{Figures, Image, Lab, Mode, Scenario, clock};
use serde_json::json;

/// The guests' memory in MiB. With 200 connections they need some 40.
const MEMORY_MIB: u64 = 64;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Bench],
    // A hundred migrations, each measured for some seconds, take hours.
    limit: minutes(180),
    clock: Clock::Virtual,
    live: true,
    ..Scenario::new(
        "advance",
        "a guest migrates under a saturating stream, with and without the channel",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

labkit::parameters! {
    /// What `advance` can be told.
    struct Parameters {
        /// How often a guest migrates under the stream, in the last of the modes.
        count: usize = 5, in 1..=1000;
        /// The most migrations under the stream in the other modes, and how often a guest migrates
        /// idle.
        control_count: usize = 5, in 0..=1000;
        /// How often a guest migrates with each number of connections.
        quiesce_count: usize = 3, in 0..=1000;
        /// The modes of the channel to compare; the scenario's own figures are those of the last.
        arms: Vec<Mode> = Mode::ALL.to_vec(), in Modes(&Mode::ALL);
        /// The bandwidth of the first round of pre-copy in Mbit/s, low enough for it to take time.
        bandwidth_mbit: u64 = 20, in 1..=100_000;
        /// How long the stream is measured before the migration, in milliseconds.
        before_ms: u64 = 1000, in 100..=60_000;
    }
}

fn run(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    figures.value(lab, "time", json!(clock(lab)));
    figures.value(lab, "memory_mib", json!(MEMORY_MIB));
    let mut faults = Vec::new();
    let mut all = Vec::new();
    for &mode in &params.arms {
        lab.report.phase(mode.name());
        let mut rows = rows::Rows::default();
        // A mode that fails costs neither the figures of the others nor its own from before.
        if let Err(error) = arm::measure(lab, &params, mode, &mut rows) {
            lab.report.log(format!("{}: {error:#}", mode.name()));
            faults.push(format!("{}: {error:#}", mode.name()));
        }
        rows.keep(lab, &format!("{}_", mode.name()), &mut figures);
        all.push((mode, rows));
    }
    let sums = rows::sums(&all);
    for (key, value) in sums {
        figures.value(lab, key, value);
    }
    // The scenario's own figures are those of the last mode.
    if let Some((mode, _)) = all.last() {
        figures.value(lab, "arm", json!(mode.name()));
        figures.also_without(&format!("{}_", mode.name()));
        goals::judge(lab, *mode, &mut figures);
    }
    let migrations = figures.number("migrations").unwrap_or(0.0);
    lab.report.result(figures.into_map());
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(format!("{migrations} migrations, {}", clock(lab)))
}
