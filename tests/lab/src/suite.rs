//! `cargo lab suite`: every test there is, on the host and in the lab, with one closing line.
//!
//! Each part runs whatever became of those before it, and a part that crashes counts as failed.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::counts::{self, Counts};
use crate::log::say;
use crate::{interrupt, paths, process};

/// The limit for the host's tests with their build.
const LIMIT: Duration = Duration::from_secs(1800);

/// The runs in the lab, as arguments of `cargo lab`: every case on the default Xen, and on the
/// others those that show that a guest boots, serves, is saved and comes back there too. Between
/// two hosts guests go out and come back once.
const LAB: &[&[&str]] = &[
    &["test"],
    &["hosts", "--param", "round_trips=1"],
    &["test", "--xen", "4.17", "--param", "cases=release"],
    &["test", "--xen", "4.20", "--param", "cases=release"],
];

/// Reads the counts out of one line of a test runner.
type Reader = fn(&str) -> Option<Counts>;

/// Runs the host's tests, then what `lab` makes of the words of each run; prints the closing line and returns whether all passed.
///
/// # Errors
/// When the user interrupts.
pub(crate) fn run(lab: impl Fn(&[String]) -> Result<Counts>) -> Result<bool> {
    let mut total = Counts::default();
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
    for words in LAB {
        say!("== cargo lab {}", words.join(" "));
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        total += lab(&words).unwrap_or_else(|error| {
            say!("error: {error:#}");
            Counts::default().with_failure()
        });
        interrupt::check()?;
    }
    println!("{total}");
    Ok(total.failed == 0)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(paths::workspace());
    command
}

/// Runs one test command of cargo on the host.
fn host(arguments: &[&str], reader: Reader) -> Result<Counts> {
    say!("== cargo {}", arguments.join(" "));
    let mut total = Counts::default();
    let status = process::run_any_status(cargo().args(arguments), LIMIT, |_, line| {
        if let Some(counts) = reader(line) {
            total += counts;
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
            total = total.with_failure();
        }
        Err(error) => {
            say!("error: {error:#}");
            total = total.with_failure();
        }
    }
    say!("{total}");
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
            .map(
                |words| match words.iter().position(|&word| word == "--xen") {
                    Some(option) => words[option + 1],
                    None => XenVersion::DEFAULT.packages().xen,
                },
            )
            .collect();
        let all = XenVersion::value_variants().iter();
        assert_eq!(tested, all.map(|version| version.packages().xen).collect());
    }
}
