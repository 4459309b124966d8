//! The target is lost in mid-stream: the guest and its connection go on where they were, and it can
//! be migrated afterwards.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use labkit::hosts::{Fault, FaultKind, SILENCE};
use labkit::survival::FreeMemory;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Case, Deadline, Lab};

use super::MIGRATION_LIMIT;
use super::journey::{Journey, Way};
use super::trips::Trips;

pub(super) const CASES: &[Case] = &[Case::new("hosts_target_lost", 600, target_lost).live()];

/// The byte at which the stream ends. The guest's resident memory is larger.
const AFTER_BYTES: u64 = 256 * 1024;

/// How many seconds the host stays silent: longer than the transport waits for it.
const SILENT_S: u64 = SILENCE.as_secs() + 10;

/// How soon data must flow after the failure, in seconds. It should not even stop.
const FLOW_LIMIT_S: u64 = 30;

const DRAIN: Duration = Duration::from_secs(30);

fn target_lost(lab: &Lab) -> Result<String> {
    let (_, remote) = super::both(lab)?;
    let free = FreeMemory::now()?;
    let guest = lab.echo(3, 16, "");
    let domain = guest.start_ready()?;
    let client = EchoClient::start(guest.port(7), lab.seed()?, Pace::Modest)?;
    client.flows(Deadline::seconds(20))?;
    let before = domain.running()?.id;
    let mut took = Vec::new();
    for kind in [FaultKind::Killed, FaultKind::Silent { seconds: SILENT_S }] {
        let fault = Fault {
            after_bytes: AFTER_BYTES,
            kind,
        };
        let started = Instant::now();
        let moved = remote.migrate_there(&domain, MIGRATION_LIMIT, Some(fault))?;
        if moved.sent.ok || moved.receipt.ok {
            bail!("{kind:?}, and the migration succeeded: {moved:?}");
        }
        if moved.receipt.bytes != AFTER_BYTES {
            bail!("the stream ended elsewhere: {:?}", moved.receipt);
        }
        client.flows(Deadline::seconds(FLOW_LIMIT_S))?;
        let after = domain.running()?.id;
        if after != before {
            bail!("{kind:?}: domid {before} has become {after}");
        }
        let left = remote.domains()?;
        if left.iter().any(|entry| entry.id != 0) {
            bail!("{kind:?}: host b still has {left:?}");
        }
        lab.report.log(format!(
            "{kind:?}: xl gave up after {:.1} s, all over after {:.1} s",
            moved.sent.took_ms / 1000.0,
            started.elapsed().as_secs_f64()
        ));
        took.push(moved.sent.took_ms / 1000.0);
    }
    // The failures do not hinder a migration without one.
    let mut trips = Trips::default();
    let journey = Journey::new(lab, &remote, &domain, guest.number());
    journey.step(Way::There, &client, &mut trips)?;
    let traffic = client.stop(DRAIN)?;
    traffic.check()?;
    trips.compared.add(&traffic);
    free.again(&[])?;
    Ok(format!(
        "killed: xl failed after {:.1} s; silent: after {:.1} s; {}",
        took[0],
        took[1],
        trips.summary()
    ))
}
