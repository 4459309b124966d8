//! `bench`: figures of the guests, beside a Linux domU's in the same run.
//!
//! [`boot`] times the boot and finds the smallest memory, [`network`] measures throughput and round
//! trips of either guest, [`linux`] measures the Linux domU, [`relay`] counts mails. Measurements
//! are short, because busy virtual time costs 5 to 10 times as much real time.

mod boot;
mod linux;
mod network;
mod relay;

use anyhow::Result;
use labkit::domain::xen_version;
use labkit::parameters::{Names, ParameterTable};
use labkit::scenario::{Clock, Linux, Work, minutes};
use labkit::{Figures, Image, Lab, Scenario, clock};
use serde_json::json;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Relay, Image::Echo],
    limit: minutes(25),
    linux: Linux::Yes,
    clock: Clock::Virtual,
    ..Scenario::new(
        "bench",
        "figures, beside those of a Linux domU",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

labkit::parameters! {
    /// What `bench` can be told.
    struct Parameters {
        /// How many times each figure is taken.
        repeats: usize = 3, in 1..=100;
        /// The parts to run; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "part", known: PARTS.map(|(name, _)| name).to_vec() };
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

fn run(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        if !params.only.is_empty() && !params.only.iter().any(|only| only == name) {
            continue;
        }
        lab.report.phase(name);
        // One part that fails does not cost the figures of the others.
        if let Err(error) = part(lab, params.repeats, &mut figures) {
            lab.report.log(format!("{name}: {error:#}"));
            failed.push(format!("{name}: {error:#}"));
        }
    }
    let count = figures.count();
    lab.report.result(figures.into_map());
    if failed.is_empty() {
        Ok(format!("{count} figures, {}", clock(lab)))
    } else {
        anyhow::bail!("{}", failed.join("; "))
    }
}
