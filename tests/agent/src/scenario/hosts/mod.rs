//! `hosts`: live migration between two hosts on one network.
//!
//! Guests start on this host, where their clients and servers stay, and migrate to the second host
//! and, if it has the same release of Xen, back. [`journey`] is one guest's way, [`trips`] its
//! figures; [`echo`], [`mail`], [`channel`] and [`lost`] are the cases. Each case runs in a process
//! of its own and leaves no domain on either host.

mod channel;
mod echo;
mod journey;
mod lost;
mod mail;
mod trips;

use std::time::Duration;

use anyhow::Result;
use labkit::hosts::{self, RemoteHost};
use labkit::parameters::{Names, ParameterSet, ParameterTable};
use labkit::scenario::{Clock, Linux, Work, minutes};
use labkit::{Case, DEFAULT_MODE, DEFAULT_SEED, Deadline, Image, Lab, Mode, Scenario, Supervisor};
use serde_json::{Map, Value};

/// The limit of one migration between the hosts. A Linux domU of 128 MiB takes about a minute on
/// two idle cores.
const MIGRATION_LIMIT: Duration = Duration::from_secs(240);

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Relay, Image::Echo, Image::Bench],
    hosts: 2,
    one_way: true,
    memory_mib: 1536,
    limit: minutes(30),
    linux: Linux::If(wants_linux),
    clock: Clock::WallOnly,
    live: true,
    ..Scenario::new(
        "hosts",
        "guests migrate live between two hosts, of different Xen if asked for, with traffic",
        ParameterTable::of::<Parameters>(),
        Work::Cases { all, conduct },
    )
};

labkit::parameters! {
    /// What `hosts` can be told.
    struct Parameters {
        /// How often guests go out and come back; to a later Xen, and as a file, how many go out.
        round_trips: usize = 2, in 1..=100;
        /// The echo guest's memory in MiB.
        memory_mib: u64 = 16, in 4..=256;
        /// Whether a Linux domU makes the same journey, for comparison.
        linux: bool = false;
        /// The cases to run; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "case", known: all().iter().map(|case| case.name).collect() };
        /// The channel's mode.
        mode: Mode = DEFAULT_MODE, in [Mode::Original, Mode::Advance];
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

impl Parameters {
    /// Whether a case is to run. The Linux domU's runs only on request.
    fn want(&self, case: &str) -> bool {
        match self.only.as_slice() {
            [] => self.linux || case != echo::LINUX,
            only => only.iter().any(|name| name == case),
        }
    }
}

fn wants_linux(given: &Map<String, Value>) -> bool {
    Parameters::read(given).is_ok_and(|parameters| parameters.want(echo::LINUX))
}

/// Returns the cases in their order.
fn all() -> Vec<Case> {
    [echo::CASES, mail::CASES, lost::CASES, channel::CASES].concat()
}

fn conduct(supervisor: &Supervisor<'_>) -> Result<()> {
    let parameters: Parameters = supervisor.parameters()?;
    let wanted = all().into_iter().filter(|case| parameters.want(case.name));
    hosts::conduct(supervisor, wanted, || Ok(Map::new()))
}

/// Returns the parameters and the second host.
fn both(lab: &Lab) -> Result<(Parameters, RemoteHost)> {
    let parameters = lab.parameters()?;
    Ok((parameters, RemoteHost::find(Deadline::seconds(60))?))
}
