//! `lifecycle`: figures of the whole ladder on one host, beside those of a Linux domU.
//!
//! [`echo`] saves, restores and migrates an echo guest under traffic; [`relay`] measures what an
//! idle relay costs; [`linux`] migrates the Linux domU with the same probe; [`measure`] is one
//! migration as its client sees it; [`goals`] compares the figures with the goals.

mod echo;
mod goals;
mod linux;
mod measure;
mod relay;

use anyhow::{Result, bail};
use labkit::domain::xen_version;
use labkit::parameters::ParameterTable;
use labkit::scenario::{Clock, Linux, Work, minutes};
use labkit::{DEFAULT_SEED, Figures, Image, Lab, Scenario, clock};
use serde_json::json;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Echo, Image::Relay],
    // A hundred migrations take their time.
    limit: minutes(55),
    linux: Linux::Yes,
    clock: Clock::Virtual,
    live: true,
    ..Scenario::new(
        "lifecycle",
        "a guest is saved, restored and migrated under traffic, beside a Linux domU",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

labkit::parameters! {
    /// What `lifecycle` can be told.
    struct Parameters {
        /// How often the echo guest is migrated.
        count: u32 = 20, in 1..=1000;
        /// How often the idle relay is migrated.
        relay_count: u32 = 3, in 0..=1000;
        /// How often the Linux domU is migrated.
        linux_count: u32 = 5, in 0..=1000;
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

fn run(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let mut figures = Figures::default();
    figures.value(lab, "xen", json!(xen_version()?));
    figures.value(lab, "time", json!(clock(lab)));
    let mut faults = Vec::new();
    let mut note = |part: &str, result: Result<()>| {
        // One part that fails does not cost the figures of the others.
        if let Err(error) = result {
            lab.report.log(format!("{part}: {error:#}"));
            faults.push(format!("{part}: {error:#}"));
        }
    };
    note("echo", echo::ladder(lab, params.count, &mut figures));
    if params.relay_count > 0 {
        note("relay", relay::idle(lab, params.relay_count, &mut figures));
    }
    if params.linux_count > 0 {
        note(
            "linux",
            linux::compare(lab, params.linux_count, &mut figures),
        );
    }
    goals::log(lab, &figures);
    lab.report.result(figures.into_map());
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(format!("{} migrations, {}", params.count, clock(lab)))
}
