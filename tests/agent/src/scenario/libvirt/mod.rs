//! `libvirt`: the guest of docs/libvirt.md under libvirt's Xen driver, on a host and between two.
//!
//! Both hosts run libvirtd. [`example`] reads the page, [`ladder`] is everything on one host,
//! [`journey`] the live migration to the other host and back. A Xen that cannot migrate guests of
//! the kind live must refuse, and leave the guest and its connection as they were.

mod example;
mod journey;
mod ladder;

use anyhow::Result;
use labkit::domain::xen_version;
use labkit::hosts::RemoteHost;
use labkit::libvirt::Daemon;
use labkit::parameters::{Names, ParameterTable};
use labkit::protocol::Outcome;
use labkit::scenario::{Clock, Work, minutes};
use labkit::traffic::echo::{EchoClient, Traffic};
use labkit::{Case, DEFAULT_SEED, Deadline, Guest, Image, Lab, Scenario, Supervisor};
use serde_json::{Map, Value, json};

/// How many seconds longer than the first host the second one may take to boot.
const SECOND_HOST: u64 = 240;

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

/// Runs the cases and powers off the second host, however they ended.
fn conduct(supervisor: &Supervisor<'_>) -> Result<()> {
    let parameters: Parameters = supervisor.parameters()?;
    let remote = RemoteHost::find(Deadline::seconds(SECOND_HOST))?;
    let ran = run(supervisor, &parameters, &remote);
    remote.power_off()?;
    ran
}

fn run(supervisor: &Supervisor<'_>, parameters: &Parameters, remote: &RemoteHost) -> Result<()> {
    let report = supervisor.report();
    let (here, libvirt) = (xen_version()?, Daemon::here().version()?);
    report.log(format!(
        "libvirt {libvirt}; Xen {here} here, {} there",
        remote.xen
    ));
    let figures = [
        ("libvirt", json!(libvirt)),
        ("xen_version", json!(here)),
        ("xen_b", json!(remote.xen)),
    ];
    report.result(Map::from_iter(
        figures.map(|(key, value)| (key.to_owned(), value)),
    ));
    let only = &parameters.only;
    let wanted = |case: &Case| only.is_empty() || only.iter().any(|name| name == case.name);
    for case in all().into_iter().filter(wanted) {
        report.phase(case.name);
        if supervisor.case(&case)? == Outcome::Failed {
            report.log(format!("host b: {}", remote.describe()));
        }
        remote.destroy_all()?;
    }
    Ok(())
}

/// Returns the page's guest: its addresses and the line with which it says that it serves.
fn guest(lab: &Lab) -> Guest {
    lab.echo(example::NUMBER, example::MEMORY_MIB, "")
}

/// Waits until data flows on the client's connection.
fn flows(client: &EchoClient) -> Result<()> {
    client.flows(Deadline::seconds(FLOW_LIMIT_S))
}

/// Returns the figures of a connection, each key with `prefix` before it.
fn traffic_figures(prefix: &str, traffic: &Traffic) -> Map<String, Value> {
    let figures = [
        ("compared_bytes", traffic.received_bytes),
        ("lost_bytes", traffic.lost_bytes),
        ("corrupt_bytes", traffic.corrupt_bytes),
        ("resets", traffic.resets),
    ];
    let figures = figures.map(|(key, value)| (format!("{prefix}{key}"), json!(value)));
    Map::from_iter(figures)
}
