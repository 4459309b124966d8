//! The migration stream meter: `agent meter [OPTIONS] -- COMMAND`, run by
//! `xl migrate -s '' NAME "agent meter … -- xl migrate-receive"` as its transport.
//!
//! It starts COMMAND, passes bytes both ways without changing them, and writes a [`StreamReport`]
//! about them. [`parser`] reads the source's stream and [`handshake`] the target's answers, both
//! without I/O; [`ledger`] counts pages and rounds; [`tally`] combines the three and decides where
//! to cut; [`throttle`] holds the stream to a bandwidth; [`pump`] moves the bytes; [`report`] is
//! the result.

mod handshake;
mod ledger;
mod parser;
mod pump;
pub mod report;
mod tally;
#[cfg(test)]
mod testing;
mod throttle;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

pub use report::{Ended, StreamReport};

/// The meter's exit code after it has cut the stream as told.
pub const CUT_STATUS: u8 = 3;

/// Passes a migration stream on to COMMAND and counts what is in it.
#[derive(Debug, Parser)]
#[command(name = "agent meter", bin_name = "agent meter")]
struct Options {
    /// Hold the stream to this many Mbit/s (10^6 bits).
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    bandwidth: Option<u64>,
    /// Hold only this many rounds to it, and let the others go as fast as they can.
    #[arg(long, value_name = "N", requires = "bandwidth")]
    bandwidth_rounds: Option<usize>,
    /// Stop after this many page contents for as long as the file of --hold is there.
    #[arg(long, value_name = "N", requires = "hold")]
    hold_page: Option<u64>,
    /// The file that holds the stream up at --hold-page, for two minutes at most.
    #[arg(long, value_name = "FILE", requires = "hold_page")]
    hold: Option<PathBuf>,
    /// Name the pfns of each round in the report.
    #[arg(long)]
    pfns: bool,
    /// End both directions after this many bytes of the source.
    #[arg(long, value_name = "BYTES", conflicts_with = "cut_page")]
    cut: Option<u64>,
    /// End both directions after this many page contents.
    #[arg(long, value_name = "N")]
    cut_page: Option<u64>,
    /// Where the report goes, as JSON, when the stream has ended.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A file that always holds the bytes and the page contents that went past so far.
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
    /// The target: a program and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the meter with the arguments after `agent meter`.
pub fn run(arguments: &[&str]) -> ExitCode {
    // clap counts the program's own name as the first argument.
    let arguments = std::iter::once("agent meter").chain(arguments.iter().copied());
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    match pump::carry(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent meter: {error:#}");
            ExitCode::FAILURE
        }
    }
}
