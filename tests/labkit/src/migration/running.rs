//! `xl migrate` while it runs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::options::MeterFiles;
use super::{Migration, Options, Target};
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::console::Console;
use crate::process::{Process, scratch_file, tail};

/// The interval between two looks at xl and at the meter's progress.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the meter's report may come after xl's end.
const REPORT_LIMIT: Duration = Duration::from_secs(10);

/// What to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// `xl migrate` alone. Its helper and the transport notice by themselves.
    Xl,
    /// xl, its helper, the meter and the target's end at once; not a domain's own xl, which has
    /// left the group.
    Group,
}

/// A migration under way. Dropping it before its end kills it with its group.
#[derive(Debug)]
pub struct Running {
    process: Process,
    started: Instant,
    limit: Duration,
    report: PathBuf,
    progress: PathBuf,
    hold: PathBuf,
    /// The domain's console, and where it continues if the migration succeeds.
    console: Option<(Console, Console, u64)>,
    meter: bool,
    killed: bool,
    /// Whether xl has ended. The target's end may still be cleaning up.
    ended: bool,
}

/// Starts to migrate `domain`.
///
/// # Errors
/// xl cannot be started.
pub fn start(domain: &Domain, options: &Options) -> Result<Running> {
    let console = (options.target == Target::ThisHost).then(|| {
        let next = Console::incoming(&domain.name);
        let offset = next.bytes();
        (domain.console().clone(), next, offset)
    });
    let mut running = start_named(&domain.name, options)?;
    running.console = console;
    Ok(running)
}

/// [`start`] for a domain without a handle, as on a host that received it.
///
/// # Errors
/// xl cannot be started.
pub fn start_named(name: &str, options: &Options) -> Result<Running> {
    let report = scratch_file("stream.json");
    let progress = scratch_file("stream.progress");
    let hold = scratch_file("stream.hold");
    if options.hold_page.is_some() {
        fs::write(&hold, "").with_context(|| hold.display().to_string())?;
    }
    let files = MeterFiles {
        report: &report,
        progress: &progress,
        hold: &hold,
    };
    let transport = options.transport(&files)?;
    let mut arguments = vec!["migrate"];
    if options.debug {
        arguments.push("--debug");
    }
    // With an empty -s, the host's name is the command itself.
    arguments.extend(["-s", "", name, &transport]);
    let started = Instant::now();
    Ok(Running {
        process: Process::start_group("xl", &arguments)?,
        started,
        limit: options.limit,
        report,
        progress,
        hold,
        console: None,
        meter: options.meter,
        killed: false,
        ended: false,
    })
}

impl Running {
    /// Returns how many page contents have been sent so far. Needs [`Options::progress`].
    pub fn pages(&self) -> u64 {
        let text = fs::read_to_string(&self.progress).unwrap_or_default();
        let pages = text.split_whitespace().nth(1);
        pages.and_then(|pages| pages.parse().ok()).unwrap_or(0)
    }

    /// Waits until `pages` page contents have been sent.
    ///
    /// # Errors
    /// xl ends before, or the deadline passes.
    pub fn wait_for_page(&mut self, pages: u64, deadline: Deadline) -> Result<()> {
        let what = format!("page {pages} of the stream");
        deadline.poll(PAUSE, &what, || {
            if self.pages() >= pages {
                return Ok(Some(()));
            }
            self.process.check_running()?;
            Ok(None)
        })
    }

    /// Releases a stream that is held ([`Options::hold_page`]).
    pub fn release(&self) -> Result<()> {
        fs::remove_file(&self.hold).with_context(|| self.hold.display().to_string())
    }

    /// Kills it, as an operator's `kill -9` would.
    pub fn kill(&mut self, what: Kill) {
        self.killed = true;
        match what {
            Kill::Xl => self.process.kill(),
            Kill::Group => self.process.kill_group(),
        }
    }

    /// Waits for xl's end.
    ///
    /// # Errors
    /// xl does not end within [`Options::limit`] of its start; everything is then killed.
    pub fn wait(mut self) -> Result<Migration> {
        let end = self.started + self.limit;
        let deadline = Deadline::after(end.saturating_duration_since(Instant::now()));
        let ended = deadline.poll(PAUSE, "xl migrate", || self.process.ended());
        let took = self.started.elapsed();
        let status = match ended {
            Ok(status) => status,
            Err(error) => bail!("{error:#}: {}", tail(&self.process.text(), 12)),
        };
        self.ended = true;
        // If no report comes in time, the meter was killed or could not write it.
        let stream = if self.meter {
            let limit = if self.killed {
                Duration::ZERO
            } else {
                REPORT_LIMIT
            };
            let report = Deadline::after(limit)
                .poll(PAUSE, "the report", || Ok(fs::read(&self.report).ok()));
            report
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
        } else {
            None
        };
        let succeeded = status.success();
        if let Some((console, next, offset)) = self.console.take().filter(|_| succeeded) {
            console.continue_in(&next, offset);
        }
        Ok(Migration {
            succeeded,
            output: self.process.text(),
            took,
            stream,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.process.kill_group();
        }
        for file in [&self.report, &self.progress, &self.hold] {
            // A file may never have been written.
            let _ = fs::remove_file(file);
        }
    }
}
