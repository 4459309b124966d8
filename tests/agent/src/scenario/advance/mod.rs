//! `advance`: two guests talk as fast as they can while one of them is migrated, for each mode of
//! the channel in one run.
//!
//! [`arm`] goes through one mode: [`idle`] migrates a guest that has nothing to do, [`once`] one
//! under a saturating stream, with everything that is measured then, [`quiesce`] one with many
//! connections. [`rows`] keeps what came of it, [`goals`] compares with what was promised.

mod arm;
mod goals;
mod idle;
mod once;
mod quiesce;
mod rows;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::figures::{Figures, clock};
use crate::domain::xen_version;
use crate::lab::Lab;

/// The guests' memory in MiB. With 200 connections they need some 40 of it.
const MEMORY_MIB: u64 = 64;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How often a guest is migrated under the stream, in the last of the arms.
    count: usize,
    /// The same in the others, at most; and how often it is without anything to do.
    control_count: usize,
    /// How often it is with each number of connections.
    quiesce_count: usize,
    /// The arms.
    arms: Vec<Arm>,
    /// What the first round of the pre-copy is held to in Mbit/s, so that it takes its time.
    bandwidth_mbit: u64,
    /// How long the stream is measured before the migration, in milliseconds.
    before_ms: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            count: 5,
            control_count: 5,
            quiesce_count: 3,
            arms: vec![Arm::Off, Arm::Original, Arm::Advance],
            bandwidth_mbit: 20,
            before_ms: 1000,
        }
    }
}

/// A mode of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Arm {
    /// No channel.
    Off,
    /// The channel ends with the early notice.
    Original,
    /// It moves to the memory of the peer that stays.
    Advance,
}

impl Arm {
    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Original => "original",
            Self::Advance => "advance",
        }
    }

    /// The guests' option.
    fn option(self) -> String {
        format!("vmc={}", self.name())
    }
}

pub(super) fn run(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    figures.value(lab, "time", json!(clock(lab)));
    figures.value(lab, "memory_mib", json!(MEMORY_MIB));
    let mut faults = Vec::new();
    let mut all = Vec::new();
    for &arm in &params.arms {
        lab.report.phase(arm.name());
        let mut rows = rows::Rows::default();
        // An arm that fails does not cost the figures of the others, nor those before it failed.
        if let Err(error) = arm::measure(lab, &params, arm, &mut rows) {
            lab.report.log(format!("{}: {error:#}", arm.name()));
            faults.push(format!("{}: {error:#}", arm.name()));
        }
        rows.keep(lab, &format!("{}_", arm.name()), &mut figures);
        all.push((arm, rows));
    }
    let sums = rows::sums(&all);
    for (key, value) in sums {
        figures.value(lab, key, value);
    }
    // The figures that the scenario is about are those of the last arm.
    if let Some((arm, _)) = all.last() {
        figures.value(lab, "arm", json!(arm.name()));
        figures.also_without(&format!("{}_", arm.name()));
        goals::judge(lab, *arm, &mut figures);
    }
    let migrations = figures.number("migrations").unwrap_or(0.0);
    lab.report.result(figures.into_map());
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(format!("{migrations} migrations, {}", clock(lab)))
}
