//! The program inside dom0, for a table of scenarios.
//!
//! `agent run JOB` carries out one job and reports to the host; it runs each part as `agent part
//! JOB NAME`. `agent serve` runs on the second of two hosts, `agent connect` is the transport of a
//! migration there, `agent meter` counts what goes over a transport, and `agent peer` is a Linux
//! domU's part in a comparison.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::lab::Lab;
use crate::protocol::{Job, Line, Outcome, REPORT_DEVICE};
use crate::report::Report;
use crate::scenario::{Scenario, Work};
use crate::supervisor::Supervisor;
use crate::{hosts, meter, peer};

/// Carries out the program's command line, with these scenarios.
#[must_use]
pub fn main(scenarios: &[Scenario]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["run", job] => run(scenarios, job),
        ["part", job, name] => part(scenarios, job, name),
        ["serve"] => serve(),
        ["connect", address] => hosts::transport::run(address),
        ["peer", ref arguments @ ..] => peer::run(arguments),
        ["meter", ref arguments @ ..] => return meter::run(arguments),
        _ => {
            eprintln!("usage: agent run JOB, or agent meter --help");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves the first of two hosts and ends the report, whatever happens on the way.
fn serve() -> Result<()> {
    let report = Report::to(report_device()?);
    let result = hosts::serve::run(&report);
    if let Err(error) = &result {
        report.case("host_b", Outcome::Failed, format!("{error:#}"));
    }
    report.send(&Line::Done);
    result
}

/// Carries out the job and ends the report, whatever happens on the way.
fn run(scenarios: &[Scenario], job_path: &str) -> Result<()> {
    let report = Report::to(report_device()?);
    let result = carry_out(scenarios, &report, job_path);
    if let Err(error) = &result {
        report.case("agent", Outcome::Failed, format!("{error:#}"));
    }
    report.send(&Line::Done);
    result
}

fn carry_out(scenarios: &[Scenario], report: &Report, job_path: &str) -> Result<()> {
    let job = read_job(job_path)?;
    let scenario = named(scenarios, &job.scenario)?;
    let supervisor = Supervisor::new(report, job_path, &job);
    match scenario.work {
        Work::Once(_) => supervisor
            .part(scenario.name, scenario.part_limit())
            .map(drop),
        Work::Cases { conduct, .. } => conduct(&supervisor),
    }
}

/// Runs one scenario or case in this process; its last line reports the outcome.
fn part(scenarios: &[Scenario], job_path: &str, name: &str) -> Result<()> {
    let report = Report::to(io::stdout());
    let lab = Lab {
        report: report.clone(),
        job: read_job(job_path)?,
        part: name.to_owned(),
    };
    let work = work(scenarios, &lab.job.scenario, name);
    let (outcome, detail) = match work.and_then(|work| work(&lab)) {
        Ok(detail) => (Outcome::Passed, detail),
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    report.case(name, outcome, detail);
    Ok(())
}

/// Returns the function of the part `name` of a scenario.
fn work(scenarios: &[Scenario], scenario: &str, name: &str) -> Result<fn(&Lab) -> Result<String>> {
    let scenario = named(scenarios, scenario)?;
    match scenario.work {
        Work::Once(work) if name == scenario.name => Ok(work),
        _ => match scenario.cases().iter().find(|case| case.name == name) {
            Some(case) => Ok(case.check),
            None => bail!("{} has no case called {name:?}", scenario.name),
        },
    }
}

fn named<'a>(scenarios: &'a [Scenario], name: &str) -> Result<&'a Scenario> {
    let scenario = scenarios.iter().find(|scenario| scenario.name == name);
    scenario.with_context(|| format!("no scenario is called {name:?}"))
}

fn report_device() -> Result<File> {
    OpenOptions::new()
        .write(true)
        .open(REPORT_DEVICE)
        .with_context(|| format!("{REPORT_DEVICE} cannot be opened"))
}

fn read_job(path: &str) -> Result<Job> {
    let text = fs::read(path).with_context(|| path.to_owned())?;
    serde_json::from_slice(&text).with_context(|| format!("{path} is not a job"))
}
