//! Runs seeds of the simulator, for longer than the tests do, or one of them with its trace.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Guests with the channel, on a fake hypervisor and a fake network")]
struct Options {
    /// How many seeds to run
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Tell everything that happens
    #[arg(long)]
    trace: bool,
    /// Go on after a seed that fails, up to so many failures
    #[arg(long, default_value_t = 1)]
    failures: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seeds: Range<u64> = match options.seed {
        Some(seed) => seed..seed + 1,
        None => options.from..options.from + options.seeds,
    };
    let start = Instant::now();
    let mut sum = sim::Sum::default();
    let mut failures = 0;
    for seed in seeds {
        let result = panic::catch_unwind(AssertUnwindSafe(|| sim::run(seed, options.trace)));
        let result = result.unwrap_or_else(|_| Err(sim::repeat(seed)));
        match result {
            Ok(report) => sum.add(&report),
            Err(what) => {
                println!("{what}");
                failures += 1;
                if failures >= options.failures {
                    break;
                }
            }
        }
    }
    println!("{sum}in {:.1} s", start.elapsed().as_secs_f64());
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
