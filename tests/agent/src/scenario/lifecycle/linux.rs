//! The Linux domU, migrated under the same traffic and the same probe.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::linux::{Linux, MEMORY_MIB};
use labkit::net::ping::reachable;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Deadline, Figures, Lab};
use serde_json::json;

use super::measure::Rows;

/// The last byte of its addresses.
const NUMBER: u8 = 9;

pub(super) fn compare(lab: &Lab, count: u32, figures: &mut Figures) -> Result<()> {
    lab.report.phase(format!("Linux domU, {MEMORY_MIB} MiB"));
    let linux = Linux::boot(lab, NUMBER)?.context("no Linux domU in dom0")?;
    let domain = &linux.domain;
    reachable(linux.ip.into(), Deadline::seconds(15))?;
    let client = EchoClient::start(linux.port(7), lab.seed()?, Pace::Modest)?;
    client.flows(Deadline::seconds(30))?;
    let mut rows = Rows::default();
    let moved = (0..count).try_for_each(|_| {
        let before = domain.running()?.id;
        rows.migrate(lab, domain, Some(linux.ip), || {
            if domain.running()?.id == before {
                bail!("the domain still has domid {before}");
            }
            client.flows(Deadline::seconds(60))
        })
    });
    rows.keep(lab, "linux_", MEMORY_MIB, figures);
    figures.value(lab, "linux_migrations", json!(rows.downtime_ms.len()));
    figures.value(lab, "linux_memory_mib", json!(MEMORY_MIB));
    moved?;
    client.stop(Duration::from_secs(30))?.check()
}
