//! `bench`: figures of the guests, and a Linux domU's beside them in the same run.
//!
//! [`boot`] times the way to the banner and finds the smallest memory, [`network`] measures
//! throughput and round trips of either guest, [`linux`] runs the Linux domU, [`relay`] counts
//! mails. Measured windows are short, because busy virtual time is expensive (lab facts).

mod boot;
mod linux;
mod network;
mod relay;

pub(super) use linux::rate as iperf3_rate;

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use super::figures::{Figures, clock};
use crate::domain::xen_version;
use crate::lab::Lab;

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
    let count = figures.len();
    lab.report.result(figures.into_map());
    if failed.is_empty() {
        Ok(format!("{count} figures, {}", clock(lab)))
    } else {
        anyhow::bail!("{}", failed.join("; "))
    }
}
