//! `libvirt`: the guest of docs/libvirt.md under libvirt's Xen driver, on a host and between two.
//!
//! Both hosts run libvirtd. [`example`] reads the page, [`ladder`] is everything on one host,
//! [`journey`] the live migration to the other host and back. A Xen that cannot migrate guests of
//! the kind live must refuse, and leave the guest and its connection as they were.

mod example;
mod journey;
mod ladder;

use anyhow::Result;
use labkit::hosts;
use labkit::libvirt::Daemon;
use labkit::parameters::{Names, ParameterTable};
use labkit::scenario::{Clock, Work, minutes};
use labkit::traffic::echo::EchoClient;
use labkit::{Case, DEFAULT_SEED, Deadline, Guest, Image, Lab, Scenario, Supervisor};
use serde_json::{Map, json};

/// How soon data must flow again, in seconds. dom0's TCP doubles the time between retransmissions:
/// after an outage of some seconds the next one may be as far away.
const FLOW_LIMIT_S: u64 = 60;

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Echo],
    hosts: 2,
    memory_mib: 1536,
    limit: minutes(30),
    clock: Clock::WallOnly,
    libvirt: true,
    ..Scenario::new(
        "libvirt",
        "a guest under libvirt's Xen driver: saved, restored, and migrated between two hosts",
        ParameterTable::of::<Parameters>(),
        Work::Cases { all, conduct },
    )
};

labkit::parameters! {
    /// What `libvirt` can be told.
    struct Parameters {
        /// How often the guest goes out and comes back.
        round_trips: usize = 2, in 1..=100;
        /// The cases to run; none for all.
        only: Vec<String> = Vec::new(), in Names { what: "case", known: all().iter().map(|case| case.name).collect() };
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

/// Returns the cases in their order.
fn all() -> Vec<Case> {
    [ladder::CASES, journey::CASES].concat()
}

fn conduct(supervisor: &Supervisor<'_>) -> Result<()> {
    let parameters: Parameters = supervisor.parameters()?;
    let only = &parameters.only;
    let wanted = |case: &Case| only.is_empty() || only.iter().any(|name| name == case.name);
    hosts::conduct(supervisor, all().into_iter().filter(wanted), || {
        let version = Daemon::here().version()?;
        supervisor.report().log(format!("libvirt {version}"));
        Ok(Map::from_iter([("libvirt".to_owned(), json!(version))]))
    })
}

/// Returns the page's guest: its addresses and the line with which it says that it serves.
fn guest(lab: &Lab) -> Guest {
    lab.echo(example::NUMBER, example::MEMORY_MIB, "")
}

/// Waits until data flows on the client's connection.
fn flows(client: &EchoClient) -> Result<()> {
    client.flows(Deadline::seconds(FLOW_LIMIT_S))
}
