//! Guests with the channel on a fake hypervisor and a fake network.
//!
//! A [`Scenario`] is an action list, made from a seed or written by hand. It
//! makes one [`World`], which runs on a virtual clock and reports the first
//! violation, if any. The same scenario gives the same run, to the byte.
//!
//! Reading order: [`scenario`] (what may happen), [`pinned`] (scenarios that
//! once found something), [`world`] (the loop and what must hold), [`guest`]
//! and [`endpoint`] (what netstack does around `vmc`), [`plan`] and [`ledger`]
//! (the applications, and what they are promised), [`xen`], [`network`],
//! [`place`],
//! [`tcp`] and [`frames`] (what is faked); [`puppet`] (a peer that is
//! controlled by hand, for the fuzzer).
#![forbid(unsafe_code)]

pub mod account;
pub mod endpoint;
pub mod frames;
pub mod guest;
pub mod ledger;
pub mod log;
pub mod network;
pub mod pinned;
pub mod place;
pub mod plan;
pub mod puppet;
pub mod scenario;
pub mod tcp;
pub mod world;
pub mod xen;

use std::fmt;

use scenario::Scenario;
use world::{Report, World};

/// Runs one seed.
///
/// # Errors
/// The first violation, with the command that repeats the run.
pub fn run(seed: u64, is_traced: bool) -> Result<Report, String> {
    let scenario = Scenario::of_seed(seed);
    if is_traced {
        println!("{scenario:#?}");
    }
    let kind = scenario.kind;
    play(scenario, is_traced)
        .map_err(|what| format!("seed {seed} ({kind:?}): {what}\n{}", repeat(seed)))
}

/// Runs a scenario.
///
/// # Errors
/// The first violation.
pub fn play(scenario: Scenario, is_traced: bool) -> Result<Report, String> {
    World::new(scenario, is_traced).run()
}

/// Returns the command that repeats the run of a seed.
#[must_use]
pub fn repeat(seed: u64) -> String {
    format!("  repeat it: cargo run --release -p sim -- --seed {seed} --trace")
}

/// Totals over many runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    runs: u64,
    total: Report,
}

impl Sum {
    /// Adds the report of one more run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        let total = &mut self.total;
        total.turns += report.turns;
        total.bytes += report.bytes;
        total.connections += report.connections;
        total.excused += report.excused;
        total.upgrades += report.upgrades;
        total.fallbacks += report.fallbacks;
        total.rehomed += report.rehomed;
        total.growths += report.growths;
        total.links += report.links;
        total.lies += report.lies;
        total.notifications += report.notifications;
        total.nanos += report.nanos;
    }

    /// Returns the totals.
    #[must_use]
    pub fn total(&self) -> &Report {
        &self.total
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, total } = self;
        writeln!(
            f,
            "{runs} runs: {} connections ({} with an excuse), {} bytes, {} links ({} ended by lies),",
            total.connections, total.excused, total.bytes, total.links, total.lies
        )?;
        write!(
            f,
            "{} upgrades, {} fallbacks, {} notifications, {} turns, {} virtual hours ",
            total.upgrades,
            total.fallbacks,
            total.notifications,
            total.turns,
            total.nanos / 3_600_000_000_000
        )
    }
}
