//! `channel`: traffic between two guests on one host, over netfront and over shared memory, and
//! what the channel costs those who have none; two Linux domUs beside them, all in one run.
//!
//! [`pair`] measures two bench guests, [`members`] how soon they know of each other, [`plain`] one guest and dom0, [`linux`] the domUs; [`goals`]
//! compares with what was promised. The guest's option `vmc=` makes the arms: the image is one.

mod goals;
mod linux;
mod members;
mod pair;
mod plain;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::figures::{Figures, clock};
use crate::domain::xen_version;
use crate::lab::Lab;

/// Writes of a stream in bytes, and the bytes of one measurement.
const STREAMS: [(usize, u64); 5] = [
    (64, 2 << 20),
    (512, 16 << 20),
    (4096, 64 << 20),
    (16384, 128 << 20),
    (65536, 128 << 20),
];

/// Questions in bytes, and how many make one measurement.
const QUESTIONS: [(usize, u64); 3] = [(1, 2000), (64, 2000), (1024, 2000)];

/// The guests' memory in MiB.
const MEMORY_MIB: u64 = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How often each figure is taken.
    repeats: usize,
    /// The parts to run, of pair, members, plain, linux; empty for all.
    only: Vec<String>,
    /// Which arms.
    arms: Vec<Arm>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            repeats: 3,
            only: Vec::new(),
            arms: vec![Arm::Netfront, Arm::Channel],
        }
    }
}

/// How the guests are told to talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Arm {
    /// TCP over netfront, `vmc=off`.
    Netfront,
    /// The channel, `vmc=original`.
    Channel,
}

impl Arm {
    /// What the names of its figures begin with.
    fn name(self) -> &'static str {
        match self {
            Self::Netfront => "netfront",
            Self::Channel => "channel",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Netfront => "vmc=off",
            Self::Channel => "vmc=original",
        }
    }
}

type Part = fn(&Lab, &Params, &mut Figures) -> Result<()>;

const PARTS: [(&str, Part); 4] = [
    ("pair", pair::measure),
    ("members", members::measure),
    ("plain", plain::measure),
    ("linux", linux::measure),
];

pub(super) fn run(lab: &Lab) -> Result<String> {
    let params: Params = lab.params()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    figures.value(lab, "time", json!(clock(lab)));
    figures.value(lab, "memory_mib", json!(MEMORY_MIB));
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        if !params.only.is_empty() && !params.only.iter().any(|only| only == name) {
            continue;
        }
        lab.report.phase(name);
        // One part that fails does not cost the figures of the others.
        if let Err(error) = part(lab, &params, &mut figures) {
            lab.report.log(format!("{name}: {error:#}"));
            failed.push(format!("{name}: {error:#}"));
        }
    }
    goals::judge(lab, &mut figures);
    let count = figures.len();
    lab.report.result(figures.into_map());
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(format!("{count} figures, {}", clock(lab)))
}
