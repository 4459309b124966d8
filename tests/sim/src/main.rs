//! Runs the simulator for longer than the tests do, or one scenario with its
//! trace.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::pinned::{self, Pinned};
use sim::world::Report;

/// How many seeds to run between two lines that say how many were run.
const PROGRESS: usize = 5000;

#[derive(Parser)]
#[command(about = "Guests with the channel, on a fake hypervisor and a fake network")]
struct Options {
    /// How many seeds to run, after the pinned scenarios
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed; with --pinned, only this order
    #[arg(long)]
    seed: Option<u64>,
    /// Only the pinned scenarios, or one of them
    #[arg(long, value_name = "NAME")]
    pinned: Option<Option<String>>,
    /// List the pinned scenarios
    #[arg(long)]
    list: bool,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
    /// Stop after this many failures
    #[arg(long, default_value_t = 1)]
    failures: u64,
}

/// Runs until too many have failed.
struct Runner {
    sum: sim::Sum,
    failures: u64,
    most: u64,
}

impl Runner {
    /// Counts one more run; returns whether to continue.
    fn run(&mut self, run: impl FnOnce() -> Result<Report, String>, repeat: String) -> bool {
        let result = panic::catch_unwind(AssertUnwindSafe(run));
        match result.unwrap_or(Err(repeat)) {
            Ok(report) => self.sum.add(&report),
            Err(what) => {
                println!("{what}");
                self.failures += 1;
            }
        }
        self.failures < self.most
    }

    fn finish(&self, what: &str, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        println!("{}in {seconds:.1} s ({what})", self.sum);
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for pinned in pinned::all() {
            println!("{}\n    {}", pinned.name, pinned.about);
        }
        return ExitCode::SUCCESS;
    }
    let chosen = match &options.pinned {
        Some(Some(name)) => match Pinned::named(name) {
            Some(pinned) => vec![pinned],
            None => {
                eprintln!("no pinned scenario has the name {name}; --list lists them");
                return ExitCode::FAILURE;
            }
        },
        Some(None) => pinned::all().collect(),
        None if options.seed.is_some() => Vec::new(),
        None => pinned::all().collect(),
    };
    let mut runner = Runner {
        sum: sim::Sum::default(),
        failures: 0,
        most: options.failures,
    };
    let only = options.pinned.is_some();
    let mut goes_on = run_pinned(&mut runner, &chosen, &options);
    if !only && goes_on {
        runner.sum = sim::Sum::default();
        let start = Instant::now();
        let seeds: Range<u64> = match options.seed {
            Some(seed) => seed..seed + 1,
            None => options.from..options.from + options.seeds,
        };
        for (done, seed) in seeds.enumerate() {
            if done > 0 && done % PROGRESS == 0 {
                let seconds = start.elapsed().as_secs_f64();
                eprintln!("{done} seeds after {seconds:.0} s");
            }
            goes_on = runner.run(|| sim::run(seed, options.trace), sim::repeat(seed));
            if !goes_on {
                break;
            }
        }
        runner.finish("seeds", start);
    }
    if runner.failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs pinned scenarios; returns whether to continue.
fn run_pinned(runner: &mut Runner, chosen: &[&Pinned], options: &Options) -> bool {
    let start = Instant::now();
    for pinned in chosen {
        let orders = match options.seed {
            Some(order) => order..order + 1,
            None => 0..pinned::ORDERS,
        };
        for order in orders {
            let run = || pinned.run(order, options.trace);
            if !runner.run(run, pinned.repeat(order)) {
                return false;
            }
        }
    }
    if !chosen.is_empty() {
        runner.finish("pinned scenarios", start);
    }
    true
}
