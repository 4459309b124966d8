//! Boots real Xen in QEMU and runs scenarios on it: `cargo lab …`.
//!
//! Read in this order: [`order`] checks what is asked of a scenario of the agent's table, which
//! [`listing`] prints; [`run`] is one run from start to end with its machines ([`host`], [`qemu`],
//! [`collect`]); [`base`] builds what is booted from the packages that [`packages`] names and
//! [`apt`] fetches; [`overlay`] and [`images`] add what changes from run to run; [`suite`] is
//! `make test`. What the agent does in dom0 is in the crates `agent` and `labkit`.
#![forbid(unsafe_code)]

mod appliance;
mod apt;
mod archive;
mod base;
mod cache;
mod collect;
mod command_line;
mod counts;
mod digest;
mod emulator;
mod host;
mod images;
mod interrupt;
mod listing;
mod loader;
mod lock;
mod log;
mod order;
mod overlay;
mod packages;
mod paths;
mod plan;
mod process;
mod qemu;
mod run;
mod shell;
mod slowest;
mod suite;
mod tools;
mod unpack;

use std::process::ExitCode;

fn main() -> ExitCode {
    log::init();
    match interrupt::init().and_then(|()| command_line::run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
