//! `evacuate`: what operators do most with live migration. All guests of a host, each connected and
//! streaming with each other, move to the second host at the same time, and back.
//!
//! [`fleet`] is the guests and their streams, [`cases`] what happens to them.

mod cases;
mod fleet;

use std::time::Duration;

use anyhow::Result;
use labkit::hosts;
use labkit::parameters::{Names, ParameterTable};
use labkit::scenario::{Clock, Work, minutes};
use labkit::{Case, DEFAULT_MODE, DEFAULT_SEED, Image, Mode, Scenario, Supervisor};
use serde_json::{Map, json};

/// The limit of one migration. All of them share one processor on either side.
const MIGRATION_LIMIT: Duration = Duration::from_secs(420);

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Bench],
    hosts: 2,
    memory_mib: 1536,
    limit: minutes(45),
    clock: Clock::WallOnly,
    live: true,
    ..Scenario::new(
        "evacuate",
        "all guests of a host migrate at the same time, streaming with each other",
        ParameterTable::of::<Parameters>(),
        Work::Cases {
            all: || cases::CASES.to_vec(),
            conduct,
        },
    )
};

labkit::parameters! {
    /// What `evacuate` can be told.
    struct Parameters {
        /// How many guests there are.
        guests: usize = 6, in 2..=7;
        /// How often they go out and come back.
        round_trips: usize = 1, in 1..=100;
        /// The memory of each in MiB.
        memory_mib: u64 = 16, in 16..=64;
        /// Seconds that what is kept for a suspended guest waits for it (`vmc_wait=`).
        wait_s: u64 = 60, in 10..=600;
        /// The cases to run; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "case", known: cases::CASES.iter().map(|case| case.name).collect() };
        /// The channel's mode.
        mode: Mode = DEFAULT_MODE, in [Mode::Original, Mode::Advance];
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

fn conduct(supervisor: &Supervisor<'_>) -> Result<()> {
    let parameters: Parameters = supervisor.parameters()?;
    let Parameters { only, .. } = &parameters;
    let wanted = |case: &&Case| only.is_empty() || only.iter().any(|name| name == case.name);
    hosts::conduct(
        supervisor,
        cases::CASES.iter().filter(wanted).copied(),
        || {
            let figures = [
                ("guests", json!(parameters.guests)),
                ("round_trips", json!(parameters.round_trips)),
            ];
            Ok(Map::from_iter(
                figures.map(|(key, value)| (key.to_owned(), value)),
            ))
        },
    )
}
