//! `channel`: traffic between two guests on one host, over netfront and over shared memory; what
//! the channel costs with a peer that has none; and two Linux domUs, all in one run.
//!
//! [`pair`] measures two bench guests, [`members`] how soon they know of each other, [`plain`] one
//! guest and dom0, [`linux`] the domUs; [`goals`] compares the figures with the goals. The image is
//! the same in every mode: only the guest's option `vmc=` differs.

mod goals;
mod linux;
mod members;
mod pair;
mod plain;

use anyhow::{Result, bail};
use labkit::domain::xen_version;
use labkit::parameters::{Modes, Names, ParameterTable};
use labkit::scenario::{Clock, Linux, Work, minutes};
use labkit::{Figures, Image, Lab, Mode, Scenario, clock};
use serde_json::json;

/// Bytes of each write of a stream, and of the whole stream.
const STREAMS: [(usize, u64); 5] = [
    (64, 2 << 20),
    (512, 16 << 20),
    (4096, 64 << 20),
    (16384, 128 << 20),
    (65536, 128 << 20),
];

/// Bytes of each question, and how many make one measurement.
const QUESTIONS: [(usize, u64); 3] = [(1, 2000), (64, 2000), (1024, 2000)];

/// The guests' memory in MiB.
const MEMORY_MIB: u64 = 32;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Bench],
    // It boots many guests.
    limit: minutes(55),
    linux: Linux::Yes,
    clock: Clock::Virtual,
    ..Scenario::new(
        "channel",
        "traffic between two guests, with and without the channel, beside two Linux domUs",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

/// The modes that are compared. The channel's figures are those of `original`.
const MODES: [Mode; 2] = [Mode::Off, Mode::Original];

labkit::parameters! {
    /// What `channel` can be told.
    struct Parameters {
        /// How often each figure is taken.
        repeats: usize = 3, in 1..=100;
        /// The parts to run; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "part", known: PARTS.map(|(name, _)| name).to_vec() };
        /// The modes of the channel to compare.
        arms: Vec<Mode> = MODES.to_vec(), in Modes(&MODES);
    }
}

/// Returns what the names of a mode's figures begin with.
fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "netfront",
        Mode::Original | Mode::Advance => "channel",
    }
}

type Part = fn(&Lab, &Parameters, &mut Figures) -> Result<()>;

const PARTS: [(&str, Part); 4] = [
    ("pair", pair::measure),
    ("members", members::measure),
    ("plain", plain::measure),
    ("linux", linux::measure),
];

fn run(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
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
    let count = figures.count();
    lab.report.result(figures.into_map());
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(format!("{count} figures, {}", clock(lab)))
}
