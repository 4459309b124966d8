//! `cargo lab suite`: every test there is, on the host and in the lab, with one closing line.
//!
//! Each part runs whatever became of those before it, and a part that crashes counts as failed.
//! Both processors of a small machine are kept busy: what the lab needs is fetched and built while
//! the host's tests run, and the runs in the lab go two at a time.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::base::Base;
use crate::counts::{self, Counts, Ended};
use crate::emulator::QemuRelease;
use crate::log::{self, say};
use crate::order::Order;
use crate::slowest::{self, Programs, Took};
use crate::{images, interrupt, paths, process, tools};

/// The limit for the host's tests with their build.
const LIMIT: Duration = Duration::from_secs(1800);

/// How often the log says how many of the host's tests have ended.
const PROGRESS: Duration = Duration::from_secs(20);

/// A run in the lab.
#[derive(Clone, Copy)]
struct Run {
    /// What its lines in the log begin with.
    label: &'static str,
    /// The arguments of `cargo lab`.
    words: &'static [&'static str],
}

impl Run {
    fn words(&self) -> Vec<String> {
        self.words.iter().map(|&word| word.to_owned()).collect()
    }
}

/// How many runs go side by side. A machine of the lab has one processor, and this one has at
/// least two.
const WORKERS: usize = 2;

/// Tests of every kind.
pub(crate) struct Suite {
    /// The host's tests on a machine without cargo-nextest.
    cargo_test: &'static [HostTests],
    /// The host's tests on a machine with cargo-nextest.
    nextest: &'static [HostTests],
    /// The runs that go side by side, the longest first: whichever worker is free takes the next,
    /// so that both are done at nearly the same time.
    side_by_side: &'static [Run],
    /// The runs with two machines, which have both processors to themselves.
    alone: &'static [Run],
}

/// `make test`. Every case is run with PV guests on the default Xen, and on the others those that
/// show that a guest boots, serves, is saved and comes back there too, with guests of each kind;
/// with PVH guests on one of them also those that show what that kind does in its own way. Between
/// hosts guests go out and come back once.
pub(crate) const TEST: Suite = Suite {
    cargo_test: &[ALL_HOST_TESTS],
    nextest: &[
        HostTests {
            arguments: &[
                "nextest",
                "run",
                "--workspace",
                "--no-fail-fast",
                "--status-level",
                "pass",
            ],
            runner: Runner::Nextest,
        },
        HostTests {
            arguments: &["test", "--workspace", "--doc", "--no-fail-fast"],
            runner: Runner::CargoTest,
        },
    ],
    side_by_side: &[
        Run {
            label: "1:",
            words: &["test", "--param", "share=[1,2]"],
        },
        Run {
            label: "2:",
            words: &["test", "--param", "share=[2,2]"],
        },
        // In virtual time, which what runs beside it does not change.
        Run {
            label: "hostile:",
            words: &["hostile", "--virtual-time"],
        },
        // In virtual time too: a save of a PVH guest goes through a million frames, which takes a
        // machine that others use longer than the cases allow.
        Run {
            label: "pvh 4.17:",
            words: &[
                "test",
                "--xen",
                "4.17",
                "--guest",
                "pvh",
                "--virtual-time",
                "--param",
                "cases=kind",
            ],
        },
        Run {
            label: "pvh 4.20:",
            words: &[
                "test",
                "--xen",
                "4.20",
                "--guest",
                "pvh",
                "--virtual-time",
                "--param",
                "cases=release",
            ],
        },
        Run {
            label: "appliance:",
            words: &["appliance"],
        },
        Run {
            label: "pvh 4.14:",
            words: &[
                "test",
                "--guest",
                "pvh",
                "--virtual-time",
                "--param",
                "cases=release",
            ],
        },
        Run {
            label: "4.17:",
            words: &["test", "--xen", "4.17", "--param", "cases=release"],
        },
        Run {
            label: "4.20:",
            words: &["test", "--xen", "4.20", "--param", "cases=release"],
        },
    ],
    alone: &[Run {
        label: "",
        words: &["hosts", "--param", "round_trips=1"],
    }],
};

/// `make soak`: what `make test` does once, often, and in the modes and on the xenstored that it
/// leaves out.
pub(crate) const SOAK: Suite = Suite {
    cargo_test: SOAK_ON_HOST,
    nextest: SOAK_ON_HOST,
    side_by_side: &[
        Run {
            label: "advance:",
            words: &["advance", "--virtual-time", "--count", "100"],
        },
        Run {
            label: "lifecycle:",
            words: &["lifecycle", "--virtual-time", "--count", "100"],
        },
        Run {
            label: "original:",
            words: &["test", "--param", "mode=original"],
        },
        Run {
            label: "oxenstored:",
            words: &["test", "--store", "oxenstored"],
        },
    ],
    alone: &[
        Run {
            label: "",
            words: &["hosts", "--param", "round_trips=20"],
        },
        Run {
            label: "",
            words: &["evacuate", "--param", "guests=4"],
        },
    ],
};

const ALL_HOST_TESTS: HostTests = HostTests {
    arguments: &["test", "--workspace", "--no-fail-fast"],
    runner: Runner::CargoTest,
};

const SOAK_ON_HOST: &[HostTests] = &[HostTests {
    arguments: &[
        "run",
        "--release",
        "--package",
        "sim",
        "--",
        "--seeds",
        "300000",
    ],
    runner: Runner::Program,
}];

/// One test command of cargo.
struct HostTests {
    arguments: &'static [&'static str],
    runner: Runner,
}

/// The program whose output is read.
#[derive(Clone, Copy)]
enum Runner {
    Nextest,
    CargoTest,
    /// A program that is one test by itself.
    Program,
}

/// What all parts have come to so far.
#[derive(Default)]
struct Sum {
    ended: Ended,
    /// How long each part took as a whole.
    parts: Vec<Took>,
}

impl Sum {
    fn add(&mut self, name: String, begin: Instant, ended: Ended) {
        self.ended += ended;
        let time = begin.elapsed();
        self.parts.push(Took { name, time });
    }
}

/// Runs the host's tests, then what `lab` makes of the words of each run. Prints the slowest tests,
/// the names of those that failed and the closing line, and returns whether all passed.
///
/// # Errors
/// Returns an error if the user interrupts.
pub(crate) fn run(
    suite: &'static Suite,
    lab: impl Fn(&[String]) -> Result<Ended> + Sync,
) -> Result<bool> {
    let begin = Instant::now();
    let sum = Mutex::new(Sum::default());
    thread::scope(|scope| {
        scope.spawn(|| {
            log::label("lab:");
            if let Err(error) = suite.prepare() {
                // The runs that need what is missing will fail and say so themselves.
                say!("error: {error:#}");
            }
        });
        suite.host(&sum)
    })?;
    suite.side_by_side(&sum, &lab);
    interrupt::check()?;
    for &run in suite.alone {
        one(run, &sum, &lab);
        interrupt::check()?;
    }
    let Sum { ended, parts } = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    say!("the parts, {:.0} s in all:", begin.elapsed().as_secs_f64());
    for line in slowest::table(parts) {
        say!("{line}");
    }
    say!("the slowest of {} tests and cases:", ended.took.len());
    for line in slowest::table(ended.took) {
        say!("{line}");
    }
    for fault in &ended.faults {
        say!("FAILED {fault}");
    }
    println!("{}", ended.counts);
    Ok(ended.counts.failed == 0)
}

impl Suite {
    fn runs(&self) -> impl Iterator<Item = Run> {
        self.side_by_side.iter().chain(self.alone).copied()
    }

    /// Fetches and builds what the runs in the lab need.
    fn prepare(&self) -> Result<()> {
        tools::ensure_for_run()?;
        let mut packages = BTreeSet::new();
        for run in self.runs() {
            let order = Order::parse(&run.words())?;
            let with_linux = order.scenario.wants_linux(&order.parameters);
            let qemu = QemuRelease::for_run(order.machine.guest.into(), with_linux);
            Base::ready(order.machine.xen, qemu)?;
            packages.extend(order.scenario.images.iter().map(|image| image.name()));
        }
        images::agent()?;
        images::images(&Vec::from_iter(packages))?;
        Ok(())
    }

    /// Runs the host's tests.
    fn host(&self, sum: &Mutex<Sum>) -> Result<()> {
        let nextest = process::output(
            cargo().args(["nextest", "--version"]),
            Duration::from_secs(60),
        );
        let commands = if nextest.is_ok() {
            self.nextest
        } else {
            say!("no cargo-nextest: cargo test runs the host's tests, one program at a time");
            self.cargo_test
        };
        for command in commands {
            let begin = Instant::now();
            let ended = host_tests(command)?;
            locked(sum).add(command.name(), begin, ended);
        }
        Ok(())
    }

    /// Makes the runs that go side by side.
    fn side_by_side(&self, sum: &Mutex<Sum>, lab: &(impl Fn(&[String]) -> Result<Ended> + Sync)) {
        let queue = Mutex::new(self.side_by_side.iter());
        let next = || locked(&queue).next();
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(&run) = next() {
                        if interrupt::check().is_err() {
                            break;
                        }
                        one(run, sum, lab);
                    }
                });
            }
        });
    }
}

/// Makes one run; from then on this thread's lines in the log begin with its label.
fn one(run: Run, sum: &Mutex<Sum>, lab: &(impl Fn(&[String]) -> Result<Ended> + Sync)) {
    log::label(run.label);
    let command = run.words.join(" ");
    say!("== cargo lab {command}");
    let begin = Instant::now();
    let ended = lab(&run.words()).unwrap_or_else(|error| {
        say!("error: {error:#}");
        let mut ended = Ended::default();
        ended.fault(format!("{command}: {error:#}"));
        ended
    });
    locked(sum).add(format!("cargo lab {command}"), begin, ended);
}

/// Locks `mutex`; a panic, which ends the program, never leaves one poisoned.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a command for cargo. Tests always unwind; if their programs do too, both share one build
/// of all they depend on. The alias `cargo lab` says the same.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(paths::workspace())
        .env("CARGO_PROFILE_DEV_PANIC", "unwind");
    command
}

impl HostTests {
    fn name(&self) -> String {
        format!("cargo {}", self.arguments.join(" "))
    }
}

/// Runs one test command of cargo on the host.
fn host_tests(tests: &HostTests) -> Result<Ended> {
    let command = tests.name();
    say!("== {command}");
    let mut total = Ended::default();
    let mut programs = Programs::default();
    let mut said = Instant::now();
    let status = process::run_any_status(cargo().args(tests.arguments), LIMIT, |_, line| {
        let (counts, took) = match tests.runner {
            Runner::Nextest => (counts::of_nextest(line), slowest::of_nextest(line)),
            Runner::CargoTest => (counts::of_cargo_test(line), programs.line(line)),
            Runner::Program => (None, None),
        };
        if let Some(counts) = counts {
            total.counts += counts;
        }
        if let Some(name) = counts::failed_test(line) {
            total.name(name.to_owned());
        }
        let passed = line.trim_start().starts_with("PASS [");
        if let Some(took) = took
            // nextest repeats those that failed at its end.
            && !total.took.contains(&took)
        {
            total.took.push(took);
            if passed && said.elapsed() > PROGRESS {
                said = Instant::now();
                say!("  {} tests have ended", total.took.len());
            }
        }
        if !passed && !line.trim().is_empty() {
            say!("  {line}");
        }
    });
    interrupt::check()?;
    match status {
        Ok(status) if status.success() => match tests.runner {
            Runner::Program => total.counts.passed += 1,
            Runner::Nextest | Runner::CargoTest if total.counts == Counts::default() => {
                total.fault(format!("{command} reported no test"));
            }
            Runner::Nextest | Runner::CargoTest => {}
        },
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

    use labkit::Kind;

    use super::{Run, SOAK, TEST};
    use crate::order::Order;
    use crate::packages::XenVersion;

    #[test]
    fn every_release_of_xen_is_tested_with_each_kind_of_guest() {
        let of = |run: &Run, option: &str, default: &'static str| {
            let option = run.words.iter().position(|&word| word == option);
            option.map_or(default, |option| run.words[option + 1])
        };
        let tested: BTreeSet<_> = TEST
            .runs()
            .map(|run| {
                let xen = of(&run, "--xen", XenVersion::DEFAULT.packages().xen);
                (xen, of(&run, "--guest", Kind::default().name()))
            })
            .collect();
        let all = XenVersion::value_variants().iter().flat_map(|version| {
            let xen = version.packages().xen;
            [(xen, Kind::Pv.name()), (xen, Kind::Pvh.name())]
        });
        assert_eq!(tested, all.collect());
    }

    #[test]
    fn every_run_is_one_that_the_lab_knows() {
        for run in TEST.runs().chain(SOAK.runs()) {
            if let Err(error) = Order::parse(&run.words()) {
                panic!("{:?}: {error:#}", run.words);
            }
        }
    }
}
