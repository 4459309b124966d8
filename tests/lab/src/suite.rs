//! `cargo lab suite`: every test there is, on the host and in the lab, with one closing line.
//!
//! Each part runs whatever became of those before it, and a part that crashes counts as failed.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::counts::{self, Counts, Ended};
use crate::log::{self, say};
use crate::{interrupt, paths, process};

/// The limit for the host's tests with their build.
const LIMIT: Duration = Duration::from_secs(1800);

/// A run in the lab: what its lines in the log begin with, and the arguments of `cargo lab`.
type Run = (&'static str, &'static [&'static str]);

/// Runs that are made one after the other.
type Lane = &'static [Run];

/// The runs in the lab, the lanes of a row side by side. A machine of the lab has one processor, as
/// many machines run at a time as this one has at least: two.
///
/// Every case is run on the default Xen, and on the others those that show that a guest boots,
/// serves, is saved and comes back there too. Between two hosts guests go out and come back once.
const LAB: &[&[Lane]] = &[
    &[
        &[("1:", &["test", "--param", "share=[1,2]"])],
        &[("2:", &["test", "--param", "share=[2,2]"])],
    ],
    &[&[("", &["hosts", "--param", "round_trips=1"])]],
    &[
        &[
            (
                "4.17:",
                &["test", "--xen", "4.17", "--param", "cases=release"],
            ),
            (
                "4.20:",
                &["test", "--xen", "4.20", "--param", "cases=release"],
            ),
        ],
        // In virtual time, which what runs beside it does not change.
        &[
            ("hostile:", &["hostile", "--virtual-time"]),
            ("appliance:", &["appliance"]),
        ],
    ],
];

/// Reads the counts out of one line of a test runner.
type Reader = fn(&str) -> Option<Counts>;

/// Runs the host's tests, then what `lab` makes of the words of each run; prints the names of what
/// failed and the closing line, and returns whether all passed.
///
/// # Errors
/// When the user interrupts.
pub(crate) fn run(lab: impl Fn(&[String]) -> Result<Ended> + Sync) -> Result<bool> {
    let mut total = Ended::default();
    let nextest = process::output(
        cargo().args(["nextest", "--version"]),
        Duration::from_secs(60),
    );
    let parts: &[(&[&str], Reader)] = if nextest.is_ok() {
        &[
            (
                &[
                    "nextest",
                    "run",
                    "--workspace",
                    "--no-fail-fast",
                    "--status-level",
                    "slow",
                ],
                counts::of_nextest,
            ),
            (
                &["test", "--workspace", "--doc", "--no-fail-fast"],
                counts::of_cargo_test,
            ),
        ]
    } else {
        &[(
            &["test", "--workspace", "--no-fail-fast"],
            counts::of_cargo_test,
        )]
    };
    for (arguments, reader) in parts {
        total += host(arguments, *reader)?;
    }
    for lanes in LAB {
        total += side_by_side(lanes, &lab);
        interrupt::check()?;
    }
    for fault in &total.faults {
        say!("FAILED {fault}");
    }
    println!("{}", total.counts);
    Ok(total.counts.failed == 0)
}

/// Goes through the lanes of one row at the same time.
fn side_by_side(lanes: &[Lane], lab: &(impl Fn(&[String]) -> Result<Ended> + Sync)) -> Ended {
    let mut total = Ended::default();
    thread::scope(|scope| {
        let through = |lane: Lane| {
            let mut ended = Ended::default();
            for &(label, words) in lane {
                ended += one(label, words, lab);
                if interrupt::check().is_err() {
                    break;
                }
            }
            ended
        };
        let handles: Vec<_> = lanes
            .iter()
            .map(|&lane| scope.spawn(move || through(lane)))
            .collect();
        for (handle, lane) in handles.into_iter().zip(lanes) {
            match handle.join() {
                Ok(ended) => total += ended,
                Err(_) => {
                    let runs: Vec<_> = lane.iter().map(|(_, words)| words.join(" ")).collect();
                    total.fault(format!("{}: the lab panicked", runs.join(", ")));
                }
            }
        }
    });
    total
}

/// Makes one run; the log's lines begin with `label` from then on, on this thread.
fn one(label: &'static str, words: &[&str], lab: &impl Fn(&[String]) -> Result<Ended>) -> Ended {
    log::label(label);
    say!("== cargo lab {}", words.join(" "));
    let owned: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    lab(&owned).unwrap_or_else(|error| {
        say!("error: {error:#}");
        let mut ended = Ended::default();
        ended.fault(format!("{}: {error:#}", words.join(" ")));
        ended
    })
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(paths::workspace());
    command
}

/// Runs one test command of cargo on the host.
fn host(arguments: &[&str], reader: Reader) -> Result<Ended> {
    let command = format!("cargo {}", arguments.join(" "));
    say!("== {command}");
    let mut total = Ended::default();
    let status = process::run_any_status(cargo().args(arguments), LIMIT, |_, line| {
        if let Some(counts) = reader(line) {
            total.counts += counts;
        }
        if let Some(name) = counts::failed_test(line) {
            total.name(name.to_owned());
        }
        if !line.trim().is_empty() {
            say!("  {line}");
        }
    });
    interrupt::check()?;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => {
            say!("cargo ended with {status}");
            total.fault(format!("{command} ended with {status}"));
        }
        Err(error) => {
            say!("error: {error:#}");
            total.fault(format!("{command}: {error:#}"));
        }
    }
    say!("{}", total.counts);
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::LAB;
    use crate::packages::XenVersion;

    #[test]
    fn every_release_of_xen_is_tested() {
        let tested: BTreeSet<_> = LAB
            .iter()
            .copied()
            .flatten()
            .copied()
            .flatten()
            .map(
                |(_, words)| match words.iter().position(|&word| word == "--xen") {
                    Some(option) => words[option + 1],
                    None => XenVersion::DEFAULT.packages().xen,
                },
            )
            .collect();
        let all = XenVersion::value_variants().iter();
        assert_eq!(tested, all.map(|version| version.packages().xen).collect());
    }
}
