//! Behaviour that differs between releases of Xen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use labkit::domain;
use labkit::migration::{Options, migrate};
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[Case::new("live_migration", 120, live_migration)];

/// How often the migration is attempted.
const TIMES: usize = 3;

/// How soon after each attempt the echo must be back.
const FLOW_LIMIT: Duration = Duration::from_secs(15);

/// xl's message if Xen cannot log dirty pages (xg_sr_save.c:enable_logdirty).
const REFUSAL: &str = "Failed to enable logdirty";

/// A Xen that can migrate PV guests live does so; on another, the refusal leaves the guest in its
/// domain. Either way no byte of its connection is lost.
fn live_migration(lab: &Lab) -> Result<String> {
    let live = domain::can_migrate_live(lab.job.guest)?;
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let client = EchoClient::start(guest.port(7), lab.seed()?, Pace::Modest)?;
    let flows = || {
        let flows = client.flows(Deadline::after(FLOW_LIMIT));
        flows.with_context(|| domain.console().tail())
    };
    flows()?;
    let first = domain.running()?.id;
    let mut last = first;
    for _ in 0..TIMES {
        let migration = migrate(&domain, &Options::default())?;
        if live {
            migration.expect_success()?;
            let id = domain.running()?.id;
            ensure!(id != last, "still domain {id} after a migration");
            last = id;
        } else {
            let output = migration.expect_failure()?.output;
            ensure!(output.contains(REFUSAL), "refused otherwise: {output}");
            let id = domain.running()?.id;
            ensure!(id == first, "the guest was domain {first} and is {id}");
        }
        flows()?;
    }
    let traffic = client.stop(FLOW_LIMIT)?;
    traffic.check()?;
    let xen = domain::xen_version()?;
    let what = if live {
        format!("moved from domid {first} to {last} in {TIMES} migrations")
    } else {
        format!("refused {TIMES} times, goes on as domid {first}")
    };
    Ok(format!(
        "Xen {xen}: {what}; {} bytes each way, longest gap {:.0} ms",
        traffic.sent_bytes, traffic.longest_gap_ms
    ))
}
