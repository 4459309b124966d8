//! The program in dom0: the library's program with the scenarios of this crate.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    labkit::program::main(agent::SCENARIOS)
}
