//! `hosts`: live migration between two hosts on one network.
//!
//! Guests begin on this host, where their clients and servers stay; they move to the second host
//! and back. [`journey`] is one guest's way, with what is measured on it; [`echo`], [`mail`], [`channel`] and
//! [`lost`] are the cases. Each case runs in a process of its own, and leaves no domain on either host.

mod channel;
mod echo;
mod journey;
mod lost;
mod mail;

use std::time::Duration;

use agent::protocol::{Job, Outcome};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cases::Case;
use crate::deadline::Deadline;
use crate::domain::xen_version;
use crate::hosts::RemoteHost;
use crate::lab::Lab;
use crate::report::Report;
use crate::supervisor::supervise;

/// How long the second host may take longer than the first one to boot.
const SECOND_HOST: u64 = 240;

/// The longest that one migration between the hosts may take. A Linux domU of 128 MiB takes
/// about a minute on two idle cores.
const MIGRATION_LIMIT: Duration = Duration::from_secs(240);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How often the echo guest goes out and comes back.
    round_trips: usize,
    /// The echo guest's memory.
    memory_mib: u64,
    /// Whether a Linux domU makes the same journey, for comparison.
    linux: bool,
    /// The cases to run; empty for all.
    only: Vec<String>,
    /// The channel's mode in the cases that can do with several; they read it themselves.
    #[serde(rename = "mode")]
    _mode: Option<String>,
    /// The seed of everything random; the cases read it themselves.
    #[serde(rename = "seed")]
    _seed: Option<u64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            round_trips: 2,
            memory_mib: 16,
            linux: false,
            only: Vec::new(),
            _mode: None,
            _seed: None,
        }
    }
}

/// The cases in their order.
const CASES: [&[Case]; 4] = [echo::CASES, mail::CASES, lost::CASES, channel::CASES];

/// The case called `name`.
pub(super) fn named(name: &str) -> Option<Case> {
    all().find(|case| case.name == name)
}

fn all() -> impl Iterator<Item = Case> {
    CASES.into_iter().flatten().copied()
}

/// Runs the cases and ends the second host, however they went.
pub(super) fn carry_out(report: &Report, job_path: &str, job: &Job) -> Result<()> {
    let params: Params =
        serde_json::from_value(Value::Object(job.params.clone())).context("parameters of hosts")?;
    if let Some(name) = params.only.iter().find(|name| named(name).is_none()) {
        bail!("no case is called {name:?}");
    }
    let remote = RemoteHost::find(Deadline::seconds(SECOND_HOST))?;
    let ran = run(report, job_path, &params, &remote);
    remote.power_off()?;
    ran
}

fn run(report: &Report, job_path: &str, params: &Params, remote: &RemoteHost) -> Result<()> {
    let here = xen_version()?;
    report.log(format!("Xen {here} here, {} there", remote.xen));
    let mut result = Map::new();
    result.insert("xen_b".into(), json!(remote.xen));
    report.result(result);
    for case in all() {
        let wanted = match params.only.as_slice() {
            [] => params.linux || case.name != echo::LINUX,
            only => only.iter().any(|name| name == case.name),
        };
        if !wanted {
            continue;
        }
        report.phase(case.name);
        let outcome = supervise(report, job_path, case.name, case.limit)?;
        if outcome == Outcome::Failed {
            report.log(format!("host b: {}", remote.describe()));
        }
        remote.destroy_all()?;
    }
    Ok(())
}

/// This host's and the second one's part in a case.
fn both(lab: &Lab) -> Result<(Params, RemoteHost)> {
    let params = lab.params()?;
    Ok((params, RemoteHost::find(Deadline::seconds(60))?))
}
