//! Measures the ring between two threads and between two processes of the host, alongside loopback
//! TCP, a Unix socket and plain copies, in one run.
//!
//! Reader and writer each need a processor of their own. A run in which they had to wait for one is
//! repeated, and if that does not help the table says so.
//!
//! Read `path` first (the carriers of the bytes, and their writers), then `ring` (a ring as a
//! blocking stream), `stream` (the bytes, timed and checked), `table` (the report).
#![forbid(unsafe_code)]

mod bare;
mod figures;
mod memory;
mod path;
mod processor;
mod ring;
mod stream;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use figures::Figures;
use path::{Job, Path};
use table::{Row, Run, Table};

const MESSAGES: [usize; 5] = [64, 512, 4096, 16 * 1024, 64 * 1024];

/// How many times to repeat a run that did not have its processors to itself.
const AGAIN: u32 = 2;

/// Length in bytes of a checked stream.
const CHECKED: u64 = 1 << 20;

#[derive(Debug, Parser)]
#[command(about)]
struct Options {
    /// Runs per figure; the figures take turns.
    #[arg(long, default_value_t = 9)]
    runs: u32,
    /// Length of a run in milliseconds.
    #[arg(long, default_value_t = 100)]
    run_ms: u64,
    /// Size of the ring in KiB, a power of two.
    #[arg(long, default_value_t = 256)]
    ring_kib: usize,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sends a stream over each ring and checks every byte.
    Check,
    /// The other end of a path; started by this program itself.
    #[command(hide = true)]
    Write(Job),
}

fn main() -> Result<()> {
    let options = Options::parse();
    let capacity = options.ring_kib * 1024;
    anyhow::ensure!(
        capacity.is_power_of_two(),
        "the ring's size is not a power of two"
    );
    match options.what {
        Some(What::Write(job)) => path::write(job),
        Some(What::Check) => check(capacity),
        None => {
            check(capacity)?;
            measure(&options, capacity)
        }
    }
}

fn check(capacity: usize) -> Result<()> {
    for path in [
        Path::RingThreads,
        Path::RingProcesses,
        Path::RingOneProcessor,
    ] {
        // Including sizes that do not divide the ring's.
        for message in [1000, 4096, 3 * capacity / 2 + 1] {
            let job = Job {
                path,
                message,
                capacity,
                checked: Some(CHECKED),
                processor: None,
            };
            let (mut source, peer) = path::open(job)?;
            stream::check(&mut source, message, CHECKED)
                .with_context(|| format!("{}, messages of {message} bytes", path.title()))?;
            drop(source);
            peer.join()?;
        }
    }
    println!("every byte arrived, over each ring");
    Ok(())
}

/// Makes one run of a row.
fn once(row: &Row, capacity: usize, processor: usize, time: Duration) -> Result<Run> {
    let job = Job {
        path: row.path,
        message: row.message,
        capacity,
        checked: None,
        processor: Some(processor),
    };
    let (mut source, peer) = path::open(job)?;
    stream::read_for(&mut source, row.message, time / 4)?;
    let writer = peer.process().map(|process| process.to_string());
    let waited = || {
        let theirs = writer.as_deref().map_or(Some(0), processor::waited_ns);
        Some(processor::waited_ns("self")? + theirs?)
    };
    let before = (source.rung(), waited());
    let sample = stream::read_for(&mut source, row.message, time)?;
    let after = (source.rung(), waited());
    drop(source);
    peer.join()?;
    let waits_by_design = row.path == Path::RingOneProcessor;
    Ok(Run {
        sample,
        rung: after.0.zip(before.0).map(|(after, before)| after - before),
        waited_ns: after
            .1
            .zip(before.1)
            .filter(|_| !waits_by_design)
            .map(|(after, before)| after.saturating_sub(before)),
    })
}

fn measure(options: &Options, capacity: usize) -> Result<()> {
    let start = Instant::now();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().parse()?;
    let (readers, writers) = processor::two()?;
    let processors = std::thread::available_parallelism()?.get();
    processor::keep_to(readers)?;
    let round_trip_ns = if writers == readers {
        None
    } else {
        Some(processor::round_trip(writers)?)
    };
    let time = Duration::from_millis(options.run_ms);
    let mut rows: Vec<Row> = MESSAGES
        .iter()
        .flat_map(|&message| {
            let paths = Path::value_variants().iter();
            paths.map(move |&path| Row {
                path,
                message,
                mb_s: Figures::default(),
                rung_per_mib: Figures::default(),
                waited_percent: Figures::default(),
            })
        })
        .collect();
    let stolen = processor::stolen_ticks([readers, writers]);
    let mut run_again = 0;
    for _ in 0..options.runs {
        for row in &mut rows {
            let processor = match row.path {
                Path::RingOneProcessor => readers,
                _ => writers,
            };
            let mut run = once(row, capacity, processor, time)?;
            for _ in 0..AGAIN {
                if !run.is_disturbed() {
                    break;
                }
                run_again += 1;
                run = once(row, capacity, processor, time)?;
            }
            row.keep(&run);
        }
    }
    let stolen = processor::stolen_ticks([readers, writers])
        .zip(stolen)
        .map(|(after, before)| after.saturating_sub(before));
    let table = Table {
        rows,
        capacity,
        processors,
        load,
        round_trip_ns,
        run_again,
        stolen_ticks: stolen,
        run_ms: options.run_ms,
        wall_s: start.elapsed().as_secs_f64(),
    };
    print!("{}", table.print());
    table.save()?;
    println!("target/lab/ring/result.json");
    Ok(())
}
