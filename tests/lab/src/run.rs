//! One run of a scenario: starts the machines, collects the report, writes the result.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::base::Base;
use crate::collect::tail;
use crate::counts::{Counts, Ended};
use crate::host::{Boot, Host, Record};
use crate::lock::Lock;
use crate::log::say;
use crate::plan::Plan;
use crate::process::TICK;
use crate::slowest::Took;
use crate::{interrupt, paths};

/// The longest time from the end of one machine to the end of the other.
const TOGETHER_LIMIT: Duration = Duration::from_secs(60);

/// How long to wait for another run of the same scenario.
const LOCK_LIMIT: Duration = Duration::from_secs(3600);

/// The lock's file in a scenario's folder.
const LOCK: &str = "lock";

/// Lines of each console that a failure shows.
const TAIL_LINES: usize = 30;

/// Runs the scenario, each machine with its own of `bases`, and returns how its cases ended. A run
/// that went wrong in another way (the agent did not finish, no figures came) counts at least one
/// failure.
///
/// # Errors
/// The run could not be made: a file cannot be written, or the user interrupts.
pub(crate) fn scenario(bases: &[Base], plan: &Plan) -> Result<Ended> {
    let name = &plan.name();
    let folder = paths::scenario(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _lock = Lock::take(&folder.join(LOCK), LOCK_LIMIT)?;
    clear(&folder)?;
    let begin = Instant::now();
    let mut records = Record::all(plan, &folder);
    let ended = machines(bases, plan, &folder, &mut records);
    let wall = begin.elapsed();
    let report = Report::of(&records);
    let fault = match ended {
        Ok(()) if report.counts.failed > 0 => Some(format!("failed: {}", report.failed.join(", "))),
        Ok(()) if plan.scenario.figures && report.result.is_empty() => {
            Some("the agent reported no figures".to_owned())
        }
        Ok(()) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    let mut ended = Ended {
        counts: report.counts,
        faults: Vec::new(),
        took: Vec::new(),
    };
    for took in records.iter().flat_map(|record| &record.collector.took) {
        ended.took.push(Took {
            name: format!("{name} {}", took.name),
            time: took.time,
        });
    }
    if let Some(fault) = &fault {
        show_tails(&records);
        say!("{name} FAILED: {fault}");
        ended.fault(format!("{name}: {fault}"));
    } else {
        say!(
            "{name} passed in {:.1} s ({:.1} s of QEMU's processor time)",
            wall.as_secs_f32(),
            report.processor_time.as_secs_f32()
        );
    }
    show_figures(&write_result(
        bases,
        plan,
        &folder,
        ended.counts,
        &report,
        wall,
    )?);
    say!("logs and result.json are in {}", paths::shown(&folder));
    interrupt::check()?;
    Ok(ended)
}

/// Removes the files of an earlier run, so that no old result passes for a new one.
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

/// Runs the machines until their agents are done and every QEMU has ended. If one fails, the others
/// are killed.
fn machines(bases: &[Base], plan: &Plan, folder: &Path, records: &mut [Record]) -> Result<()> {
    let scratch = paths::scratch(folder)?;
    let releases: Vec<_> = plan.releases().map(|xen| xen.packages().xen).collect();
    let mut boots: Vec<Boot<'_>> = Vec::new();
    for (base, xen) in bases.iter().zip(&releases) {
        let root = scratch.path().join(format!("dom0-{xen}.cpio"));
        // Machines of one release share the file, which none of them writes.
        if !boots.iter().any(|boot| boot.root == root) {
            plan.overlay.write(base, &root)?;
        }
        boots.push(Boot { base, root });
    }
    let mode = if plan.virtual_time {
        "virtual time"
    } else {
        "wall-clock time"
    };
    say!("booting Xen {} in QEMU, {mode}", releases.join(" and Xen "));
    let mut hosts = Host::start_all(&boots, plan, records)?;
    let mut first_end = None;
    loop {
        interrupt::check()?;
        let mut running = hosts.len();
        for host in &mut hosts {
            running -= usize::from(host.watch(plan.scenario.limit)?);
        }
        if running == 0 {
            return Ok(());
        }
        if running < hosts.len() {
            let since = first_end.get_or_insert_with(Instant::now);
            if since.elapsed() > TOGETHER_LIMIT {
                bail!("one host has powered off and the other goes on");
            }
        }
        thread::sleep(TICK);
    }
}

/// The reports of all machines' agents.
struct Report {
    counts: Counts,
    failed: Vec<String>,
    result: Map<String, Value>,
    complete: bool,
    /// QEMU's processor time.
    processor_time: Duration,
}

impl Report {
    fn of(records: &[Record]) -> Report {
        let mut report = Report {
            counts: Counts::default(),
            failed: Vec::new(),
            result: Map::new(),
            complete: true,
            processor_time: Duration::ZERO,
        };
        for record in records {
            let collector = &record.collector;
            report.processor_time += record.processor_time;
            report.counts += collector.counts;
            report.failed.extend(collector.failed.iter().cloned());
            report
                .result
                .extend(collector.result.clone().unwrap_or_default());
            report.complete &= collector.done;
        }
        report
    }
}

/// Writes `result.json`: the agent's figures, the counts of its cases, and what only the host
/// knows. Returns it.
fn write_result(
    bases: &[Base],
    plan: &Plan,
    folder: &Path,
    counts: Counts,
    report: &Report,
    wall: Duration,
) -> Result<Map<String, Value>> {
    let mut result = report.result.clone();
    result.insert("passed".into(), counts.passed.into());
    result.insert("failed".into(), counts.failed.into());
    result.insert("skipped".into(), counts.skipped.into());
    result.insert("complete".into(), report.complete.into());
    result.insert("hosts".into(), plan.scenario.hosts.into());
    for (key, xen) in ["xen", "second_xen"].into_iter().zip(plan.releases()) {
        result.insert(key.into(), xen.packages().xen.into());
    }
    result.insert("guest".into(), plan.guest.name().into());
    result.insert("store".into(), plan.store.program().into());
    if let Some(base) = bases.first() {
        result.insert("qemu".into(), base.emulator().version().into());
    }
    let mode = if plan.virtual_time { "virtual" } else { "wall" };
    result.insert("time_mode".into(), mode.into());
    result.insert("wall_s".into(), tenths(wall).into());
    result.insert("qemu_cpu_s".into(), tenths(report.processor_time).into());
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

/// Returns `time` in seconds, rounded to tenths.
fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// Logs the figures of a result; tables are only in `result.json`.
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

fn show_tails(records: &[Record]) {
    let logs = records
        .iter()
        .flat_map(|record| [record.console(), record.qemu_log()]);
    let consoles = records
        .iter()
        .flat_map(|record| record.collector.guest_consoles());
    for path in logs.chain(consoles) {
        let text = tail(&path, TAIL_LINES);
        if !text.is_empty() {
            say!("-- the end of {}:\n{text}", paths::shown(&path));
        }
    }
}
