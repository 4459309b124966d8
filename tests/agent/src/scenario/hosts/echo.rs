//! An echo guest, and for comparison a Linux domU, migrate out and back while every byte of a
//! connection is compared.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use labkit::addresses;
use labkit::linux::Linux;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Case, Deadline, Domain, Lab};

use super::Parameters;
use super::journey::{Journey, Way};

/// The case that runs only on request.
pub(super) const LINUX: &str = "hosts_linux";

pub(super) const CASES: &[Case] = &[
    Case::new("hosts_echo", 900, echo),
    Case::new(LINUX, 900, linux),
];

/// The echo guest's number.
const ECHO: u8 = 2;

/// The Linux domU's number.
const LINUX_DOMU: u8 = 9;

/// How long bytes under way may take to come back at the end.
const DRAIN: Duration = Duration::from_secs(30);

fn echo(lab: &Lab) -> Result<String> {
    let params: Parameters = lab.parameters()?;
    let guest = lab.echo(ECHO, params.memory_mib, "");
    travel(lab, &guest.start_ready()?, ECHO, "")
}

fn linux(lab: &Lab) -> Result<String> {
    let linux = Linux::boot(lab, LINUX_DOMU)?;
    let linux = linux.context("no Linux domU here: the host did not bring it")?;
    travel(lab, &linux.domain, LINUX_DOMU, "linux_")
}

fn travel(lab: &Lab, domain: &Domain, number: u8, prefix: &str) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let server = SocketAddr::from((addresses::ipv4(number), 7));
    let client = EchoClient::start(server, lab.seed()?, Pace::Modest)?;
    client.flows(Deadline::seconds(20))?;
    let mut journey = Journey::new(lab, &remote, domain, number);
    let travelled = (0..params.round_trips).try_for_each(|_| {
        journey.step(Way::There, &client)?;
        journey.step(Way::Back, &client)
    });
    let traffic = client.stop(DRAIN)?;
    // The figures of a journey that failed show how far it came.
    lab.report.result(journey.result(prefix, &traffic));
    travelled?;
    traffic.check()?;
    Ok(journey.summary(&traffic))
}
