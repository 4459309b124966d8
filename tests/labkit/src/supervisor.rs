//! Runs every scenario and every case in a process of its own, so that a panic or a hang costs one
//! case and not the run: starts it, holds it to its deadline and cleans up after it.
//!
//! The workspace is built with `panic = "abort"`, so a process boundary is also the only place
//! where a panic can be caught.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};

use crate::case::Case;
use crate::deadline::Deadline;
use crate::domain::{self, console};
use crate::kind::Kind;
use crate::parameters::ParameterSet;
use crate::process::{pid_of, run_ok, scratch_file, tail};
use crate::protocol::{Job, Line, Outcome};
use crate::report::Report;

/// How many console lines of each guest accompany a failure.
const TAIL_LINES: usize = 25;

/// Carries out a job part by part.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor<'a> {
    report: &'a Report,
    job_path: &'a str,
    job: &'a Job,
}

impl<'a> Supervisor<'a> {
    /// A supervisor of `job`, which was read from the file `job_path`.
    #[must_use]
    pub fn new(report: &'a Report, job_path: &'a str, job: &'a Job) -> Self {
        Self {
            report,
            job_path,
            job,
        }
    }

    /// Where it reports.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.report
    }

    /// Returns the job's parameters.
    ///
    /// # Errors
    /// The host has checked them, so only a scenario that reads another set than its own fails.
    pub fn parameters<P: ParameterSet>(&self) -> Result<P> {
        P::read(&self.job.params).with_context(|| format!("parameters of {}", self.job.scenario))
    }

    /// Returns what the domains are built as.
    #[must_use]
    pub fn guest(&self) -> Kind {
        self.job.guest
    }

    /// Runs one case.
    ///
    /// # Errors
    /// Its process cannot be started.
    pub fn case(&self, case: &Case) -> Result<Outcome> {
        self.part(case.name, case.limit)
    }

    /// Runs the part `name` for at most `limit`, passes its lines on, and reports exactly one
    /// outcome.
    ///
    /// # Errors
    /// Its process cannot be started.
    pub fn part(&self, name: &str, limit: Duration) -> Result<Outcome> {
        let report = self.report;
        let before = console_logs();
        let errors = scratch_file("errors");
        let mut child = Command::new(std::env::current_exe().context("own path")?)
            .args(["part", self.job_path, name])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&errors).context("standard error")?)
            .spawn()
            .context("a part cannot be started")?;
        let group = pid_of(&child);
        let end = match child.stdout.take() {
            Some(lines) => forward(report, lines, name, Deadline::after(limit)),
            None => End::Cut,
        };
        // Also kills what the part left running, such as its servers; the group may be empty.
        let _ = killpg(group, Signal::SIGKILL);
        let status = child.wait().context("the part's status")?;
        let text = fs::read(&errors).unwrap_or_default();
        let _ = fs::remove_file(&errors);
        let text = tail(&String::from_utf8_lossy(&text), 12);
        let (outcome, detail) = match end {
            End::Told(outcome, detail) => (outcome, detail),
            End::Cut => (Outcome::Failed, format!("{text} ({status})")),
            End::Late => (
                Outcome::Failed,
                format!("did not end within {} s {text}", limit.as_secs()),
            ),
        };
        show_consoles(report, &before, outcome == Outcome::Failed);
        if let Err(error) = domain::destroy_all() {
            report.log(format!("cleaning up after {name}: {error:#}"));
        }
        report.case(name, outcome, detail);
        Ok(outcome)
    }
}

/// How a part's report ended.
enum End {
    /// It reported its outcome.
    Told(Outcome, String),
    /// It ended without one: it panicked or was killed.
    Cut,
    /// It did not end before its deadline.
    Late,
}

/// Passes the part's lines on until it reports its outcome, ends or is late.
fn forward(report: &Report, lines: ChildStdout, name: &str, deadline: Deadline) -> End {
    // Bounded: a part that writes faster than the host reads is held up by its pipe.
    let (sender, received) = mpsc::sync_channel(64);
    thread::spawn(move || {
        for line in BufReader::new(lines).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        match received.recv_timeout(deadline.remaining()) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(Line::Case {
                    outcome, detail, ..
                }) => return End::Told(outcome, detail),
                Ok(line) => report.send(&line),
                Err(_) => report.log(format!("{name}: {text}")),
            },
            Err(RecvTimeoutError::Disconnected) => return End::Cut,
            Err(RecvTimeoutError::Timeout) => return End::Late,
        }
    }
}

fn console_logs() -> BTreeSet<String> {
    let Ok(folder) = fs::read_dir(console::FOLDER) else {
        return BTreeSet::new();
    };
    folder
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("guest-"))
        .collect()
}

/// Hands in the console logs of the part's guests; after a failure it also shows their last lines
/// and Xen's.
fn show_consoles(report: &Report, before: &BTreeSet<String>, failed: bool) {
    for name in console_logs().difference(before) {
        let bytes = fs::read(format!("{}/{name}", console::FOLDER)).unwrap_or_default();
        report.file(name, &bytes);
        if failed {
            show_tail(report, name, &String::from_utf8_lossy(&bytes));
        }
    }
    if failed {
        match run_ok("xl", &["dmesg"], Duration::from_secs(30)) {
            // After its own start Xen's messages are about domains.
            Ok(text) => {
                let about = text
                    .split_once("init memory\n")
                    .map_or(text.as_str(), |(_, rest)| rest);
                show_tail(report, "xl dmesg", about);
            }
            Err(error) => report.log(format!("{error:#}")),
        }
    }
}

fn show_tail(report: &Report, name: &str, text: &str) {
    for line in tail(&text.replace('\r', ""), TAIL_LINES).lines() {
        report.log(format!("{name}| {line}"));
    }
}
