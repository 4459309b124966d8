//! Migrates a guest without connections. Its own part of the outage is the base for a guest under
//! load.

use std::time::Duration;

use anyhow::{Context, Result};
use labkit::bench::Bench;
use labkit::migration::{self, Options};
use labkit::traffic::probe::Probe;
use labkit::{Lab, Witness};

use super::rows::Rows;

/// The interval between two pings. A frame has to come in when the guest is back.
const PINGS: Duration = Duration::from_millis(5);

pub(super) fn migrate(lab: &Lab, bench: &Bench, rows: &mut Rows) -> Result<()> {
    let mut witness = Witness::of(&bench.domain)?;
    let probe = Probe::start(bench.guest.ip(), PINGS)?;
    migrate_now(bench)?;
    let suspend = witness.moved()?;
    let downtime_ms = probe.stop()?.longest_ms()?;
    lab.report.log(format!(
        "idle: own {:?} us, quiesced after {:?} us, down {downtime_ms:.1} ms",
        suspend.own_us, suspend.quiesced_us
    ));
    rows.idle(&suspend, downtime_ms);
    Ok(())
}

/// Migrates the guest at full speed.
pub(super) fn migrate_now(bench: &Bench) -> Result<()> {
    let migration = migration::migrate(&bench.domain, &Options::default())?;
    let moved = migration.expect_success();
    moved.map(drop).context("a migration at full speed")
}
