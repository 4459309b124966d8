//! Programs of dom0, run to their end within a limit or kept running until dropped.
//!
//! Output goes to temporary files and not to pipes, because `xl create` leaves a child behind that
//! would keep a pipe open.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The result of a program that has ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output, and then to standard error.
    pub text: String,
    /// How long it ran.
    pub took: Duration,
    /// When it was seen to end.
    pub ended: Instant,
}

/// Runs `program` to its end. A program that outlives `limit` is killed, and that is an error.
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<Output> {
    run_fed(program, arguments, Stdio::null(), limit)
}

/// [`run`], with standard input from `input`.
pub fn run_fed(program: &str, arguments: &[&str], input: Stdio, limit: Duration) -> Result<Output> {
    let shown = shown(program, arguments);
    let log = scratch_file("run");
    let started = Instant::now();
    let child = spawn(program, arguments, input, &log)?;
    let pid = pid_of(&child);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut child = child;
        let status = child.wait();
        // After the limit nobody listens; the program has been killed by then.
        let _ = sender.send((status, Instant::now()));
    });
    let result = match ended.recv_timeout(limit) {
        Ok((status, ended)) => Ok(Output {
            status: status.with_context(|| shown.clone())?,
            text: read_lossy(&log),
            took: ended.saturating_duration_since(started),
            ended,
        }),
        Err(_) => {
            let _ = kill(pid, Signal::SIGKILL);
            Err(anyhow!(
                "`{shown}` did not end within {limit:?}: {}",
                tail(&read_lossy(&log), 10)
            ))
        }
    };
    let _ = fs::remove_file(&log);
    result
}

/// Runs `program` to a successful end and returns what it printed.
pub fn run_ok(program: &str, arguments: &[&str], limit: Duration) -> Result<String> {
    let output = run(program, arguments, limit)?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}): {}",
            shown(program, arguments),
            output.status,
            tail(&output.text, 10)
        );
    }
    Ok(output.text)
}

/// A program that runs beside the scenario, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program`.
    pub fn start(program: &str, arguments: &[&str]) -> Result<Self> {
        let name = name_of(program);
        let log = scratch_file(&name);
        let child = spawn(program, arguments, Stdio::null(), &log)?;
        Ok(Self { child, name, log })
    }

    /// Starts `program` as the leader of a process group of its own, for [`Self::kill_group`].
    pub fn start_group(program: &str, arguments: &[&str]) -> Result<Self> {
        let name = name_of(program);
        let log = scratch_file(&name);
        let mut command = prepared(program, arguments, Stdio::null(), &log)?;
        let child = started(program, command.process_group(0))?;
        Ok(Self { child, name, log })
    }

    /// Returns what it has printed so far.
    pub fn text(&self) -> String {
        read_lossy(&self.log)
    }

    /// Returns how it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| self.name.clone())
    }

    /// Fails if the program is no longer running.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended ({status}): {}", self.name, tail(&self.text(), 10));
        }
        Ok(())
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        // An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills it and everything it has started that is still in its group. Only for a process that
    /// leads a group.
    pub fn kill_group(&mut self) {
        // The group may be empty by now. Its number is not reused before the leader has been waited
        // for, or while it has members.
        let _ = killpg(pid_of(&self.child), Signal::SIGKILL);
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_file(&self.log);
    }
}

/// Returns the last `lines` lines of `text`.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Returns a path for a file that nobody else uses.
pub fn scratch_file(purpose: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("agent-{}-{number}-{purpose}", std::process::id()))
}

/// Returns the process id of `child` in the type that signals need.
pub fn pid_of(child: &Child) -> Pid {
    // Linux's process ids are below 2^22 (proc(5), pid_max).
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn spawn(program: &str, arguments: &[&str], input: Stdio, log: &Path) -> Result<Child> {
    started(program, &mut prepared(program, arguments, input, log)?)
}

fn prepared(program: &str, arguments: &[&str], input: Stdio, log: &Path) -> Result<Command> {
    let out = File::create(log).with_context(|| log.display().to_string())?;
    let errors = out.try_clone().context("standard error")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(input)
        .stdout(out)
        .stderr(errors);
    Ok(command)
}

fn started(program: &str, command: &mut Command) -> Result<Child> {
    command
        .spawn()
        .with_context(|| match fs::metadata(program) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                format!("`{program}` cannot be started (is it in dom0?)")
            }
            _ => format!("`{program}` cannot be started"),
        })
}

fn name_of(program: &str) -> String {
    Path::new(program)
        .file_name()
        .map_or_else(|| program.to_owned(), |n| n.to_string_lossy().into_owned())
}

fn shown(program: &str, arguments: &[&str]) -> String {
    let mut text = program.to_owned();
    for argument in arguments {
        text.push(' ');
        text.push_str(argument);
    }
    text
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Process, run, run_ok, tail};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_status_are_kept() {
        let output = run("sh", &["-c", "echo out; echo err >&2; exit 3"], LONG)
            .expect("a shell is everywhere");
        assert_eq!(output.status.code(), Some(3));
        assert!(output.text.contains("out") && output.text.contains("err"));
        let error = run_ok("sh", &["-c", "echo why; exit 3"], LONG).expect_err("it fails");
        assert!(error.to_string().contains("why"));
    }

    #[test]
    fn a_program_that_outlives_its_limit_is_killed() {
        let error = run("sleep", &["600"], Duration::from_millis(50)).expect_err("too long");
        assert!(error.to_string().contains("did not end"));
    }

    #[test]
    fn a_dropped_process_ends() {
        let mut process = Process::start("sleep", &["600"]).expect("sleep starts");
        process.check_running().expect("it sleeps");
        let pid = process.child.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn tails() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
