//! Moves the bytes between the source, which is the meter's own standard input and output, and the
//! target, which is a program that the meter starts.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::report::Ended;
use super::tally::{Cut, Tally};
use super::throttle::{PIECE_BYTES, Throttle};
use super::{CUT_STATUS, Options};
use crate::stats::rounded;

/// How long a target may go on after the source has closed the stream, and how long it may take to
/// exit after it has closed its own side.
const TARGET_LIMIT: Duration = Duration::from_secs(60);

/// The interval between two looks for the end of the target.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the stream may be held up.
const HOLD_LIMIT: Duration = Duration::from_secs(120);

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The source closed its side: no more is coming for the target.
    Source,
    /// The target takes no more. Its answers may still be under way.
    Deaf,
    /// The target closed its side, and its answers have been passed on.
    Target,
    /// The stream is to be cut here.
    Cut,
}

/// The tally with the clock that it is kept by.
#[derive(Clone)]
struct Shared {
    tally: Arc<Mutex<Tally>>,
    started: Instant,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> f64 {
        rounded(self.started.elapsed().as_secs_f64() * 1000.0)
    }
}

/// Passes the stream on until it ends. The exit code is the target's, or [`CUT_STATUS`].
pub(super) fn carry(options: &Options) -> Result<ExitCode> {
    let cut = options.cut.map(Cut::Byte);
    let cut = cut.or(options.cut_page.map(Cut::Page));
    let started_unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let shared = Shared {
        tally: Arc::new(Mutex::new(if options.pfns {
            Tally::new(cut).naming_pfns()
        } else {
            Tally::new(cut)
        })),
        started: Instant::now(),
    };
    let mut target = start(&options.command)?;
    let (sender, ends) = mpsc::channel();
    if let Some(input) = target.stdin.take() {
        let (shared, sender) = (shared.clone(), sender.clone());
        let throttle = options.bandwidth.map(Throttle::new);
        let rounds = options.bandwidth_rounds.unwrap_or(usize::MAX);
        let throttle = throttle.map(|throttle| (throttle, rounds));
        let progress = options.progress.clone();
        let hold = options.hold_page.zip(options.hold.clone());
        thread::spawn(move || {
            let onlooker = Onlooker { progress, hold };
            forward(input, throttle, onlooker, &shared, &sender);
        });
    }
    if let Some(output) = target.stdout.take() {
        let shared = shared.clone();
        thread::spawn(move || back(output, &shared, &sender));
    }
    // Both directions report their end, and at least one always exists.
    let mut end = ends.recv().unwrap_or(End::Target);
    if end == End::Deaf {
        end = ends.recv_timeout(TARGET_LIMIT).unwrap_or(End::Target);
    }
    if let Some(path) = &options.report {
        let ended = match end {
            End::Source => Ended::BySource,
            End::Deaf | End::Target => Ended::ByTarget,
            End::Cut => Ended::ByCut,
        };
        let unix_ms = started_unix.as_millis() as u64;
        let report = shared.tally().report(ended, unix_ms, shared.now_ms());
        replace(path, &serde_json::to_vec(&report).context("the report")?)?;
    }
    match end {
        // Exiting closes the pipes to both sides at once, as a lost connection would.
        End::Cut => return Ok(ExitCode::from(CUT_STATUS)),
        End::Source => {
            // The target may still send something.
            let _ = ends.recv_timeout(TARGET_LIMIT);
        }
        End::Deaf | End::Target => {}
    }
    Ok(exit_code(&mut target))
}

fn start(command: &[String]) -> Result<Child> {
    let (program, arguments) = command.split_first().context("no command")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{program}` cannot be started"))
}

/// Files by which others follow the stream and hold it.
struct Onlooker {
    /// Where the stream's progress is written.
    progress: Option<PathBuf>,
    /// After how many pages the stream stops, as long as a file of this name exists.
    hold: Option<(u64, PathBuf)>,
}

impl Onlooker {
    fn see(&mut self, bytes: u64, pages: u64) {
        if let Some(path) = &self.progress {
            // A full disk must not stop the stream.
            let _ = replace(path, format!("{bytes} {pages}\n").as_bytes());
        }
        if let Some((_, file)) = self.hold.take_if(|(at, _)| pages >= *at) {
            let until = Instant::now() + HOLD_LIMIT;
            while file.exists() && Instant::now() < until {
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Copies from the source to the target. The throttle applies to that many rounds.
fn forward(
    mut target: ChildStdin,
    mut throttle: Option<(Throttle, usize)>,
    mut onlooker: Onlooker,
    shared: &Shared,
    ends: &Sender<End>,
) {
    let mut source = io::stdin().lock();
    let piece = throttle
        .as_ref()
        .map_or(PIECE_BYTES, |(throttle, _)| throttle.piece_bytes());
    let mut buffer = vec![0; piece];
    let end = loop {
        let count = match source.read(&mut buffer) {
            Ok(0) | Err(_) => break End::Source,
            Ok(count) => count,
        };
        if let Some((throttle, rounds)) = &mut throttle
            && shared.tally().rounds() <= *rounds
        {
            thread::sleep(throttle.wait_for(count, shared.started.elapsed()));
        }
        let (passed, (bytes, pages)) = {
            let now_ms = shared.now_ms();
            let mut tally = shared.tally();
            (tally.forward(&buffer[..count], now_ms), tally.progress())
        };
        if target.write_all(&buffer[..passed]).is_err() {
            break End::Deaf;
        }
        onlooker.see(bytes, pages);
        if passed < count {
            break End::Cut;
        }
    };
    // In this order: the target sees the end before the receiver of `ends` does, except that a cut
    // closes everything at the same moment.
    if end != End::Cut {
        drop(target);
        let _ = ends.send(end);
    } else {
        let _ = ends.send(end);
        thread::sleep(TARGET_LIMIT);
    }
}

/// Copies from the target to the source.
fn back(mut target: impl Read, shared: &Shared, ends: &Sender<End>) {
    let mut source = io::stdout().lock();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = target.read(&mut buffer) {
        let now_ms = shared.now_ms();
        shared.tally().back(&buffer[..count], now_ms);
        let written = source.write_all(&buffer[..count]);
        if written.and_then(|()| source.flush()).is_err() {
            let _ = ends.send(End::Source);
            return;
        }
    }
    let _ = ends.send(End::Target);
}

/// Replaces a file so that a reader sees either the old contents or the new.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| path.display().to_string())
}

/// Returns the target's exit code. A target that does not end, or was killed by a signal, has
/// failed.
fn exit_code(target: &mut Child) -> ExitCode {
    let start = Instant::now();
    while start.elapsed() < TARGET_LIMIT {
        match target.try_wait() {
            Ok(Some(status)) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                return code.map_or(ExitCode::FAILURE, ExitCode::from);
            }
            Ok(None) => thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    ExitCode::FAILURE
}
