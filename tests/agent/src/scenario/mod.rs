//! What a job can ask for. Each scenario is one file; `test` is made of many cases.

mod advance;
mod appliance;
mod bench;
mod boot;
mod channel;
mod figures;
mod goals;
mod hosts;
mod idle;
mod lifecycle;
mod run;
mod test;

use std::time::Duration;

use agent::protocol::Job;
use anyhow::{Result, bail};

use crate::cases;
use crate::lab::Lab;
use crate::report::Report;
use crate::supervisor::supervise;

/// The longest that a scenario other than `test` may take, in dom0's seconds.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The limit of `lifecycle`, which may be asked for a hundred migrations, and of `channel`, which
/// boots many guests.
const LIFECYCLE_LIMIT: Duration = Duration::from_secs(50 * 60);

/// The limit of `advance`, whose hundred migrations are measured for some seconds each.
const ADVANCE_LIMIT: Duration = Duration::from_secs(170 * 60);

/// Carries the job out, in processes of their own, and reports how each part ended.
pub(crate) fn carry_out(report: &Report, job_path: &str, job: &Job) -> Result<()> {
    match job.scenario.as_str() {
        "test" => test::carry_out(report, job_path, job),
        "hosts" => hosts::carry_out(report, job_path, job),
        name @ ("boot" | "run" | "idle" | "bench" | "hostile" | "appliance") => {
            supervise(report, job_path, name, LIMIT).map(drop)
        }
        name @ ("lifecycle" | "channel") => {
            supervise(report, job_path, name, LIFECYCLE_LIMIT).map(drop)
        }
        "advance" => supervise(report, job_path, "advance", ADVANCE_LIMIT).map(drop),
        other => bail!(
            "no scenario is called {other:?}: boot, run, test, hosts, lifecycle, channel, advance, \
             hostile, idle, bench, appliance are"
        ),
    }
}

/// What runs inside a part's process. Returns the detail for its outcome.
pub(crate) fn run_part(lab: &Lab, name: &str) -> Result<String> {
    match name {
        "boot" => boot::run(lab),
        "run" => run::run(lab),
        "idle" => idle::run(lab),
        "appliance" => appliance::run(lab),
        "lifecycle" => lifecycle::run(lab),
        "bench" => bench::run(lab),
        "channel" => channel::run(lab),
        "advance" => advance::run(lab),
        "hostile" => cases::hostile_peer::attacked(lab),
        _ => match cases::named(name).or_else(|| hosts::named(name)) {
            Some(case) => (case.check)(lab),
            None => bail!("no case is called {name:?}"),
        },
    }
}
