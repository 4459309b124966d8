//! One scenario from start to end: machine up, report collected, machine down, result written.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::base::Base;
use crate::collect::{Collector, tail};
use crate::counts::Counts;
use crate::lock::Lock;
use crate::log::say;
use crate::overlay::Overlay;
use crate::process::{Owned, TICK};
use crate::qemu::{Console, Machine};
use crate::scenario::Scenario;
use crate::{interrupt, paths};

/// From power-on to the agent's first line. It takes 20 s on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(240);

/// From the agent's last line to the end of QEMU.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// How long to wait for another run of the same scenario.
const LOCK_LIMIT: Duration = Duration::from_secs(3600);

/// The lock's file in a scenario's folder.
const LOCK: &str = "lock";

/// Lines of each console that a failure shows.
const TAIL_LINES: usize = 30;

/// What one run of a scenario needs.
pub(crate) struct Plan {
    /// The scenario; its name is the name of the folder too.
    pub(crate) scenario: &'static Scenario,
    /// The hypervisor's release, as it goes into the result.
    pub(crate) xen: &'static str,
    /// Whether time is counted in instructions.
    pub(crate) virtual_time: bool,
    /// What goes into dom0.
    pub(crate) overlay: Overlay,
}

/// Runs the scenario and returns how its cases ended. A run that went wrong in another way (the
/// agent did not finish, no figures came) has at least one failed.
///
/// # Errors
/// When the run could not be made: a file cannot be written, or the user interrupts.
pub(crate) fn scenario(base: &Base, plan: &Plan) -> Result<Counts> {
    let name = plan.scenario.name;
    let folder = paths::scenario(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _lock = Lock::take(&folder.join(LOCK), LOCK_LIMIT)?;
    clear(&folder)?;
    let begin = Instant::now();
    let mut collector = Collector::new(&folder);
    let ended = machine(base, plan, &folder, &mut collector);
    let wall = begin.elapsed();
    let fault = match ended {
        Ok(()) if collector.counts.failed > 0 => {
            Some(format!("failed: {}", collector.failed.join(", ")))
        }
        Ok(()) if plan.scenario.result && collector.result.is_none() => {
            Some("the agent reported no figures".to_owned())
        }
        Ok(()) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    if let Some(fault) = &fault {
        collector.counts = collector.counts.with_failure();
        show_tails(&folder, &collector);
        say!("{name} FAILED: {fault}");
    } else {
        say!("{name} passed in {:.1} s", wall.as_secs_f32());
    }
    show_figures(&write_result(plan, &folder, &collector, wall)?);
    say!("logs and result.json are in {}", paths::shown(&folder));
    interrupt::check()?;
    Ok(collector.counts)
}

/// Removes what an earlier run left, so that no old result is taken for a new one.
fn clear(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Runs the machine until the agent is done and QEMU has ended.
fn machine(base: &Base, plan: &Plan, folder: &Path, collector: &mut Collector) -> Result<()> {
    let scratch = paths::scratch(folder)?;
    let root = scratch.path().join("dom0.cpio");
    plan.overlay.write(base, &root)?;
    let report = folder.join("report.jsonl");
    let mut reader = Follower::new(&report)?;
    let log = File::create(folder.join("qemu.log"))?;
    let mode = if plan.virtual_time {
        "virtual time"
    } else {
        "wall-clock time"
    };
    say!("booting Xen {} in QEMU, {mode}", plan.xen);
    let begin = Instant::now();
    let qemu = Machine {
        base,
        root: &root,
        memory_mib: plan.scenario.memory_mib,
        dom0_mib: plan.scenario.dom0_mib,
        virtual_time: plan.virtual_time,
        console: Console::File(console(folder)),
        report: Some(&report),
    }
    .command()
    .stdin(std::process::Stdio::null())
    .stdout(log.try_clone()?)
    .stderr(log)
    .spawn()
    .context("cannot start QEMU")?;
    let mut qemu = Owned(qemu);
    let mut done_at = None;
    loop {
        interrupt::check()?;
        let ended = qemu.0.try_wait().context("cannot wait for QEMU")?;
        let was_started = collector.started;
        collector.feed(&reader.next()?)?;
        if collector.started && !was_started {
            say!(
                "the agent began after {:.1} s",
                begin.elapsed().as_secs_f32()
            );
        }
        if collector.done && done_at.is_none() {
            done_at = Some(Instant::now());
        }
        if let Some(status) = ended {
            return match (collector.done, status.success()) {
                (true, true) => Ok(()),
                (true, false) => bail!("QEMU ended with {status}"),
                (false, _) => bail!("the machine stopped before the agent was done ({status})"),
            };
        }
        if !collector.started && begin.elapsed() > BOOT_LIMIT {
            bail!("no agent after {} s", BOOT_LIMIT.as_secs());
        }
        if begin.elapsed() > plan.scenario.limit {
            bail!("not done after {} s", plan.scenario.limit.as_secs());
        }
        if done_at.is_some_and(|at| at.elapsed() > POWER_OFF_LIMIT) {
            bail!("dom0 did not power off");
        }
        thread::sleep(TICK);
    }
}

fn console(folder: &Path) -> PathBuf {
    folder.join("console.log")
}

/// Writes `result.json`: what the agent reported, the counts of its cases, what only the host
/// knows. Returns it.
fn write_result(
    plan: &Plan,
    folder: &Path,
    collector: &Collector,
    wall: Duration,
) -> Result<Map<String, Value>> {
    let mut result: Map<String, Value> = collector.result.clone().unwrap_or_default();
    let counts = collector.counts;
    result.insert("passed".into(), counts.passed.into());
    result.insert("failed".into(), counts.failed.into());
    result.insert("skipped".into(), counts.skipped.into());
    result.insert("complete".into(), collector.done.into());
    result.insert("xen".into(), plan.xen.into());
    let mode = if plan.virtual_time { "virtual" } else { "wall" };
    result.insert("time_mode".into(), mode.into());
    result.insert(
        "wall_s".into(),
        ((wall.as_secs_f64() * 10.0).round() / 10.0).into(),
    );
    for (number, (name, bytes)) in image_bytes(plan)?.into_iter().enumerate() {
        if number == 0 {
            // The first image of a scenario is the one that its figures are about.
            result.insert("image_bytes".into(), bytes.into());
        }
        result.insert(format!("image_{name}_bytes"), bytes.into());
    }
    let path = folder.join("result.json");
    let fresh = folder.join("result.json.new");
    let mut file = File::create(&fresh)?;
    serde_json::to_writer_pretty(&mut file, &result)?;
    file.write_all(b"\n")?;
    fs::rename(&fresh, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(result)
}

/// Logs the figures of a result; tables within it are left to `result.json`.
fn show_figures(result: &Map<String, Value>) {
    for (name, value) in result {
        if !value.is_object() && !value.is_array() {
            say!("  {name}: {value}");
        }
    }
}

fn image_bytes(plan: &Plan) -> Result<Vec<(String, u64)>> {
    plan.overlay
        .images
        .iter()
        .map(|(name, path)| Ok((name.clone(), fs::metadata(path)?.len())))
        .collect()
}

fn show_tails(folder: &Path, collector: &Collector) {
    let consoles = [console(folder), folder.join("qemu.log")];
    for path in consoles.into_iter().chain(collector.guest_consoles()) {
        let text = tail(&path, TAIL_LINES);
        if !text.is_empty() {
            say!("-- the end of {}:\n{text}", paths::shown(&path));
        }
    }
}

/// Reads a file that another program is still writing.
struct Follower {
    file: File,
}

impl Follower {
    fn new(path: &Path) -> Result<Follower> {
        // QEMU opens the file without replacing it, so that this handle stays good.
        File::create(path)?;
        Ok(Follower {
            file: File::open(path)?,
        })
    }

    /// What was written since the last call.
    fn next(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file
            .read_to_end(&mut bytes)
            .context("cannot read the report")?;
        Ok(bytes)
    }
}
