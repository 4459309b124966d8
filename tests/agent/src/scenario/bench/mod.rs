//! `bench`: figures of the guests, and a Linux domU's beside them in the same run.
//!
//! [`boot`] times the way to the banner and finds the smallest memory, [`network`] measures
//! throughput and round trips of either guest, [`linux`] runs the Linux domU, [`relay`] counts
//! mails. Measured windows are short, because busy virtual time is expensive (lab facts).

mod boot;
mod linux;
mod network;
mod relay;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::xen_version;
use crate::lab::Lab;
use crate::stats::Spread;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How many times each figure is taken.
    repeats: usize,
    /// The parts to run, of boot, network, linux, relay, memory; empty for all.
    only: Vec<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            repeats: 3,
            only: Vec::new(),
        }
    }
}

/// The figures so far. Every key ends with its unit.
#[derive(Debug, Default)]
struct Figures(Map<String, Value>);

impl Figures {
    /// Keeps median and spread of `values` under `key`, and logs them.
    fn spread(&mut self, lab: &Lab, key: &str, values: &[f64]) {
        let Some(spread) = Spread::of(values) else {
            return;
        };
        lab.report.log(format!(
            "{key}: median {:.3}, {:.3} to {:.3} in {}",
            spread.median, spread.min, spread.max, spread.count
        ));
        self.0.insert(key.to_owned(), spread.json());
    }

    /// Keeps a single value.
    fn value(&mut self, lab: &Lab, key: &str, value: Value) {
        lab.report.log(format!("{key}: {value}"));
        self.0.insert(key.to_owned(), value);
    }
}

type Part = fn(&Lab, usize, &mut Figures) -> Result<()>;

const PARTS: [(&str, Part); 5] = [
    ("boot", boot::banner),
    ("network", network::causeway),
    ("linux", linux::measure),
    ("relay", relay::throughput),
    ("memory", boot::smallest_memory),
];

pub(super) fn run(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        if !params.only.is_empty() && !params.only.iter().any(|only| only == name) {
            continue;
        }
        lab.report.phase(name);
        // One figure that cannot be taken does not cost the others.
        if let Err(error) = part(lab, params.repeats.max(1), &mut figures) {
            lab.report.log(format!("{name}: {error:#}"));
            failed.push(format!("{name}: {error:#}"));
        }
    }
    let count = figures.0.len();
    lab.report.result(figures.0);
    if failed.is_empty() {
        let time = if lab.job.virtual_time {
            "virtual time, 1 ns per instruction"
        } else {
            "wall time of an emulated machine: not to be quoted"
        };
        Ok(format!("{count} figures, {time}"))
    } else {
        anyhow::bail!("{}", failed.join("; "))
    }
}
