//! The program inside dom0: `agent run JOB` carries out one job and reports to the host.
//!
//! `agent serve` is the second of two hosts, `agent connect` a migration's way there, and
//! `agent meter` counts what goes that way. `agent peer` is a Linux domU's part in a comparison.
//!
//! Reading order: `scenario` and `cases` say what is tried; `lab` and `domain` make guests; `net`
//! and `mail` talk to them; `hosts` is a second machine; `supervisor` runs each part in a process
//! of its own.
#![forbid(unsafe_code)]

mod bench;
mod cases;
mod channel;
mod deadline;
mod domain;
mod hosts;
mod lab;
mod linux;
mod mail;
mod meter;
mod migration;
mod net;
mod pair;
mod peer;
mod process;
mod report;
mod scenario;
mod stats;
mod supervisor;
mod survival;
mod traffic;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::process::ExitCode;

use agent::protocol::{Job, Line, Outcome, REPORT_DEVICE};
use anyhow::{Context, Result};

use lab::Lab;
use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["run", job] => run(job),
        ["part", job, name] => part(job, name),
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
fn run(job_path: &str) -> Result<()> {
    let report = Report::to(report_device()?);
    let result = read_job(job_path).and_then(|job| scenario::carry_out(&report, job_path, &job));
    if let Err(error) = &result {
        report.case("agent", Outcome::Failed, format!("{error:#}"));
    }
    report.send(&Line::Done);
    result
}

/// One scenario or case, in a process of its own; its last line tells its outcome.
fn part(job_path: &str, name: &str) -> Result<()> {
    let report = Report::to(io::stdout());
    let lab = Lab {
        report: report.clone(),
        job: read_job(job_path)?,
        part: name.to_owned(),
    };
    let (outcome, detail) = match scenario::run_part(&lab, name) {
        Ok(detail) => (Outcome::Passed, detail),
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    report.case(name, outcome, detail);
    Ok(())
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
