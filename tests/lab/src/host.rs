//! One machine of a run: QEMU, its agent's report, and the files that both leave in the folder.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::base::Base;
use crate::collect::Collector;
use crate::log::say;
use crate::plan::Plan;
use crate::process::Owned;
use crate::qemu::{Console, Link, Machine};

/// The limit from power-on to the agent's first line, times the number of machines that boot at the
/// same time. One takes 20 s on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(240);

/// The limit from the agent's last line to the end of QEMU.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// The two ends of a network. A scenario's first machine has the first.
const ENDS: [Link; 2] = [Link { host: "a", mac: 1 }, Link { host: "b", mac: 2 }];

/// A machine's report and the places of its logs. Unlike the machine, it outlives a failure.
pub(crate) struct Record {
    /// What the agent has reported.
    pub(crate) collector: Collector,
    /// The processor time that QEMU has used.
    pub(crate) processor_time: Duration,
    folder: PathBuf,
    /// What is added to file names of a machine that is not the first, or nothing.
    suffix: String,
}

impl Record {
    /// Returns the records of the plan's machines, in their order.
    pub(crate) fn all(plan: &Plan, folder: &Path) -> Vec<Record> {
        let links = ENDS.iter().take(plan.scenario.hosts).enumerate();
        links
            .map(|(number, link)| Record {
                collector: Collector::new(folder),
                processor_time: Duration::ZERO,
                folder: folder.to_path_buf(),
                suffix: match number {
                    0 => String::new(),
                    _ => format!("-{}", link.host),
                },
            })
            .collect()
    }

    /// Returns the log of the machine's serial port: Xen's and dom0's console.
    pub(crate) fn console(&self) -> PathBuf {
        self.folder.join(format!("console{}.log", self.suffix))
    }

    /// Returns the log of QEMU's own messages.
    pub(crate) fn qemu_log(&self) -> PathBuf {
        self.folder.join(format!("qemu{}.log", self.suffix))
    }

    fn report(&self) -> PathBuf {
        self.folder.join(format!("report{}.jsonl", self.suffix))
    }

    /// Returns `text` with the machine's name if it is not the first.
    fn named(&self, text: &str) -> String {
        match self.suffix.strip_prefix('-') {
            Some(host) => format!("host {host}: {text}"),
            None => text.to_owned(),
        }
    }
}

/// What a machine boots.
pub(crate) struct Boot<'a> {
    /// QEMU, hypervisor and kernel.
    pub(crate) base: &'a Base,
    /// dom0's root.
    pub(crate) root: PathBuf,
}

/// A running machine.
pub(crate) struct Host<'a> {
    record: &'a mut Record,
    qemu: Owned,
    reader: Follower,
    boot_limit: Duration,
    begin: Instant,
    done_at: Option<Instant>,
    status: Option<ExitStatus>,
}

impl Host<'_> {
    /// Starts the plan's machines, each with its own of `boots`; two are joined by a network.
    ///
    /// # Errors
    /// Returns an error if QEMU cannot be started or a file cannot be made.
    pub(crate) fn start_all<'a>(
        boots: &[Boot<'_>],
        plan: &Plan,
        records: &'a mut [Record],
    ) -> Result<Vec<Host<'a>>> {
        let wires = if boots.len() == 1 {
            vec![None]
        } else {
            let (first, second) = UnixStream::pair().context("no socket pair for the network")?;
            ENDS.into_iter().zip([first, second]).map(Some).collect()
        };
        let hosts = boots.iter().zip(records).zip(wires);
        hosts
            .map(|((boot, record), wire)| Host::start(boot, plan, record, wire))
            .collect()
    }

    fn start<'a>(
        boot: &Boot<'_>,
        plan: &Plan,
        record: &'a mut Record,
        wire: Option<(Link, UnixStream)>,
    ) -> Result<Host<'a>> {
        let report = record.report();
        let reader = Follower::new(&report)?;
        let log = File::create(record.qemu_log())?;
        let (link, input) = match wire {
            Some((link, socket)) => (Some(link), Stdio::from(OwnedFd::from(socket))),
            None => (None, Stdio::null()),
        };
        let qemu = Machine {
            base: boot.base,
            root: &boot.root,
            memory_mib: plan.memory_mib,
            dom0_mib: plan.scenario.dom0_mib,
            virtual_time: plan.virtual_time,
            store: plan.store,
            console: Console::File(record.console()),
            report: Some(&report),
            link,
        }
        .command()
        .stdin(input)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start QEMU")?;
        Ok(Host {
            record,
            qemu: Owned(qemu),
            reader,
            boot_limit: BOOT_LIMIT * if link.is_some() { 2 } else { 1 },
            begin: Instant::now(),
            done_at: None,
            status: None,
        })
    }

    /// Reads what the agent has reported since the last call. Returns true once the machine has
    /// ended as it should.
    ///
    /// # Errors
    /// Returns an error if it ended otherwise, or if a deadline has passed.
    pub(crate) fn watch(&mut self, limit: Duration) -> Result<bool> {
        self.step(limit).map_err(|error| {
            // One line, which names the machine.
            anyhow::anyhow!(self.record.named(&format!("{error:#}")))
        })
    }

    fn step(&mut self, limit: Duration) -> Result<bool> {
        if self.status.is_some() {
            return Ok(true);
        }
        // Asked before QEMU is waited for: what has been waited for has no figures any more.
        if let Some(time) = processor_time(self.qemu.0.id()) {
            self.record.processor_time = time;
        }
        // Asked before the report is read, so that the report of a machine that has ended is
        // complete.
        self.status = self.qemu.0.try_wait().context("cannot wait for QEMU")?;
        let collector = &mut self.record.collector;
        let was_started = collector.started;
        collector.feed(&self.reader.next()?)?;
        let (started, done) = (collector.started, collector.done);
        let elapsed = self.begin.elapsed();
        if started && !was_started {
            let text = format!("the agent began after {:.1} s", elapsed.as_secs_f32());
            say!("{}", self.record.named(&text));
        }
        if done && self.done_at.is_none() {
            self.done_at = Some(Instant::now());
        }
        match self.status {
            Some(status) if done && status.success() => return Ok(true),
            Some(status) if done => bail!("QEMU ended with {status}"),
            Some(status) => bail!("the machine stopped before the agent was done ({status})"),
            None => {}
        }
        if !started && elapsed > self.boot_limit {
            bail!("no agent after {} s", self.boot_limit.as_secs());
        }
        if elapsed > limit {
            bail!("not done after {} s", limit.as_secs());
        }
        if self
            .done_at
            .is_some_and(|at| at.elapsed() > POWER_OFF_LIMIT)
        {
            bail!("dom0 did not power off");
        }
        Ok(false)
    }
}

/// Returns the processor time that the process `pid` has used, or `None` if there is no such process.
fn processor_time(pid: u32) -> Option<Duration> {
    time_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Returns the sum of user and system time in the text of `/proc/PID/stat`.
fn time_in_stat(text: &str) -> Option<Duration> {
    // proc(5): the name, in parentheses, is field 2; utime and stime are fields 14 and 15, in
    // hundredths of a second on x86-64.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

/// Reader of a file that another program is still writing.
struct Follower {
    file: File,
}

impl Follower {
    fn new(path: &Path) -> Result<Follower> {
        // QEMU opens the file without replacing it, so this handle stays valid.
        File::create(path)?;
        Ok(Follower {
            file: File::open(path)?,
        })
    }

    /// Returns what has been written since the last call.
    fn next(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file
            .read_to_end(&mut bytes)
            .context("cannot read the report")?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{processor_time, time_in_stat};

    #[test]
    fn a_process_has_used_user_and_system_time() {
        let text = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(time_in_stat(text), Some(Duration::from_millis(1750)));
        assert_eq!(time_in_stat("7 (a) S 1"), None);
        assert!(processor_time(std::process::id()).is_some());
    }
}
