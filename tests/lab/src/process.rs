//! Child processes with a deadline.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt;

/// How often a wait checks its deadline and Ctrl-C.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// How many of a failed program's last lines are in its error.
const TAIL_LINES: usize = 20;

/// The output of a program that a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A child process, killed and waited for when it is dropped.
pub(crate) struct Owned(pub(crate) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Both fail only if the child has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end and hands each line of its output to `on_line`.
///
/// # Errors
/// Returns an error if it cannot be started, fails (the message has its last lines), takes longer
/// than `limit`, or if the user interrupts.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    on_line: impl FnMut(Stream, &str),
) -> Result<()> {
    run_on(Stdio::null(), command, limit, on_line)
}

/// Runs `source | sink` to the end of both. The standard error of `source` goes to the terminal.
///
/// # Errors
/// Returns an error as [`run`] does, for either.
pub(crate) fn pipe(source: &mut Command, sink: &mut Command, limit: Duration) -> Result<()> {
    let name = source.get_program().to_string_lossy().into_owned();
    let child = source
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut child = Owned(child);
    let input = child.0.stdout.take().map_or(Stdio::null(), Stdio::from);
    run_on(input, sink, limit, |_, _| {})?;
    // Its reader has ended: if it went on writing, SIGPIPE would end it.
    let status = child.0.wait().context("cannot wait")?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Does what [`run`] does, with `input` as the standard input.
fn run_on(
    input: Stdio,
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(Stream, &str),
) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut tail = VecDeque::new();
    let status = follow(command.stdin(input), limit, |stream, line| {
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
        on_line(stream, line);
    })?;
    if !status.success() {
        let tail: Vec<_> = tail.into();
        bail!("{name} ended with {status}:\n{}", tail.join("\n"));
    }
    Ok(())
}

/// Does what [`run`] does, but returns a failing exit status instead of an error.
///
/// # Errors
/// Returns an error if it cannot be started, takes longer than `limit`, or if the user interrupts.
pub(crate) fn run_any_status(
    command: &mut Command,
    limit: Duration,
    on_line: impl FnMut(Stream, &str),
) -> Result<ExitStatus> {
    follow(command.stdin(Stdio::null()), limit, on_line)
}

/// Starts `command`, hands its output to `on_line` and waits for its end.
fn follow(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(Stream, &str),
) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let deadline = Instant::now() + limit;
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut child = Owned(child);
    let lines = lines_of(&mut child.0);
    let mut closed = false;
    loop {
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("{name} was not done after {} s", limit.as_secs());
        }
        if closed {
            if let Some(status) = child.0.try_wait().context("cannot wait")? {
                return Ok(status);
            }
            thread::sleep(TICK);
            continue;
        }
        match lines.recv_timeout(TICK) {
            Ok((stream, line)) => on_line(stream, &line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => closed = true,
        }
    }
}

/// Runs `command` and returns its standard output.
///
/// # Errors
/// Returns an error as [`run`] does.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let mut text = String::new();
    run(command, limit, |stream, line| {
        if stream == Stream::Out {
            text.push_str(line);
            text.push('\n');
        }
    })?;
    Ok(text)
}

/// Reads both outputs of `child`, each on a thread that ends with it.
fn lines_of(child: &mut Child) -> Receiver<(Stream, String)> {
    let (sender, receiver) = channel();
    if let Some(out) = child.stdout.take() {
        read_lines(out, Stream::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        read_lines(err, Stream::Err, sender);
    }
    receiver
}

fn read_lines(
    source: impl Read + Send + 'static,
    stream: Stream,
    sender: Sender<(Stream, String)>,
) {
    thread::spawn(move || {
        for bytes in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&bytes).into_owned();
            if sender.send((stream, line)).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Stream, output, pipe, run};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_standard_output_alone() {
        let text = output(
            &mut shell("echo one; echo two >&2; echo three"),
            Duration::from_secs(20),
        )
        .expect("the script succeeds");
        assert_eq!(text, "one\nthree\n");
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        let mut seen = Vec::new();
        let error = run(
            &mut shell("echo reason >&2; exit 3"),
            Duration::from_secs(20),
            |stream, line| seen.push((stream, line.to_owned())),
        )
        .expect_err("exit status 3");
        assert!(error.to_string().contains("reason"), "{error}");
        assert_eq!(seen, [(Stream::Err, "reason".to_owned())]);
    }

    #[test]
    fn both_ends_of_a_pipe_must_succeed() {
        let run = |source, sink| {
            let (mut source, mut sink) = (shell(source), shell(sink));
            pipe(&mut source, &mut sink, Duration::from_secs(20))
        };
        run("echo through", "read word && [ $word = through ]").expect("it comes through");
        assert!(run("echo through; exit 3", "cat").is_err());
        assert!(run("echo through", "cat; exit 3").is_err());
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let error = run(
            &mut shell("sleep 600"),
            Duration::from_millis(100),
            |_, _| {},
        )
        .expect_err("it sleeps longer");
        assert!(error.to_string().contains("not done"), "{error}");
    }
}
