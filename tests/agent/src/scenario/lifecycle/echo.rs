//! The echo guest on every rung of the ladder, under one connection throughout.

use std::time::Duration;

use anyhow::{Result, bail};
use labkit::domain::lifecycle::{Counts, Suspend};
use labkit::migration::SaveFile;
use labkit::net::ping::reachable;
use labkit::survival::{FreeMemory, counts, healthy};
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Deadline, Domain, Figures, Guest, Lab, Witness};
use serde_json::json;

use super::measure::{Rows, probed};

/// Both guests' memory in MiB.
pub(super) const MEMORY_MIB: u64 = 64;

/// How soon after a suspend traffic must flow again, in seconds.
const SOON: u64 = 30;

/// How long bytes under way may take to come back at the end.
const DRAIN: Duration = Duration::from_secs(20);

pub(super) fn ladder(lab: &Lab, count: u32, figures: &mut Figures) -> Result<()> {
    lab.report.phase(format!("echo guest, {MEMORY_MIB} MiB"));
    let guest = lab.echo(2, MEMORY_MIB, "");
    let domain = guest.start_ready()?;
    reachable(guest.ip().into(), Deadline::seconds(15))?;
    let client = EchoClient::start(guest.port(7), lab.seed()?, Pace::Modest)?;
    client.flows(Deadline::seconds(SOON))?;
    let mut account = Account::default();
    let result = climb(lab, &guest, &domain, &client, count, &mut account, figures);
    // The figures of a ladder that broke show how far it went.
    account.keep(lab, figures);
    let traffic = client.stop(DRAIN)?;
    for (key, value) in [
        ("sent_bytes", traffic.sent_bytes),
        ("lost_bytes", traffic.lost_bytes),
        ("corrupt_bytes", traffic.corrupt_bytes),
        ("resets", traffic.resets),
        ("local_port", traffic.local_port.into()),
    ] {
        figures.value(lab, key, value.into());
    }
    figures.spread(lab, "longest_gap_ms", &[traffic.longest_gap_ms]);
    result?;
    traffic.check()?;
    healthy(&domain)
}

/// `xl save -c`, save and restore, and `count` migrations.
fn climb(
    lab: &Lab,
    guest: &Guest,
    domain: &Domain,
    client: &EchoClient,
    count: u32,
    account: &mut Account,
    figures: &mut Figures,
) -> Result<()> {
    let mut witness = Witness::of(domain)?;
    let flows = || client.flows(Deadline::seconds(SOON));

    lab.report.phase("xl save -c");
    let file = SaveFile::fresh();
    let (_, down_ms, _) = probed(guest.ip(), || {
        domain.save(&file, true)?;
        let suspend = witness.stayed()?;
        flows()?;
        Ok(suspend)
    })?;
    figures.spread(lab, "checkpoint_downtime_ms", &[down_ms]);
    figures.value(lab, "saved_bytes", json!(file.bytes()));
    drop(file);

    lab.report.phase("xl save, xl restore");
    let file = SaveFile::fresh();
    let (_, down_ms, _) = probed(guest.ip(), || {
        domain.save(&file, false)?;
        domain.restore(&file)?;
        let suspend = witness.moved()?;
        flows()?;
        Ok(suspend)
    })?;
    figures.spread(lab, "save_restore_downtime_ms", &[down_ms]);
    drop(file);

    lab.report.phase(format!("{count} migrations"));
    for number in 1..=count {
        let suspend = account.rows.migrate(lab, domain, Some(guest.ip()), || {
            let suspend = witness.moved()?;
            flows()?;
            Ok(suspend)
        })?;
        account.suspends.push(suspend);
        if number == 1 || number == count {
            // Buffers come and go with the traffic; at rest the counts must be the same.
            client.hold(true);
            client.at_rest(Deadline::seconds(SOON))?;
            let counts = counts(domain)?;
            client.hold(false);
            lab.report
                .log(format!("after migration {number}: {counts:?}"));
            account.first.get_or_insert(counts);
            account.last = Some(counts);
            // What the domains before this one had is Xen's again.
            let free = *account.free.get_or_insert(FreeMemory::now()?);
            account.free_mib = Some(free.again(&[domain])?);
        }
    }
    account.leaks()
}

/// The results of the migrations.
#[derive(Debug, Default)]
struct Account {
    rows: Rows,
    suspends: Vec<Suspend>,
    first: Option<Counts>,
    last: Option<Counts>,
    /// The host's free memory after the first migration, and in MiB after the last.
    free: Option<FreeMemory>,
    free_mib: Option<u64>,
}

impl Account {
    /// Fails if grants, ports or free frames differ from those after the first migration.
    fn leaks(&self) -> Result<()> {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first.kept() != last.kept() => bail!(
                "grants, ports, free frames: {:?} after the first migration, {:?} after the last",
                first.kept(),
                last.kept()
            ),
            _ => Ok(()),
        }
    }

    fn keep(&self, lab: &Lab, figures: &mut Figures) {
        figures.value(lab, "migrations", json!(self.suspends.len()));
        self.rows.keep(lab, "", MEMORY_MIB, figures);
        type Pick = fn(&Suspend) -> Option<f64>;
        let picks: [(&str, Pick); 11] = [
            (
                "hypercall_to_first_packet_ms",
                Suspend::hypercall_to_first_frame_ms,
            ),
            ("quiesce_us", |s| number(s.quiesced_us)),
            ("guest_part_us", |s| number(s.own_us)),
            ("guest_hypercalls", |s| number(s.own_hypercalls)),
            ("away_ms", |s| number(s.away_ms)),
            ("phase_hypercall_us", |s| number(s.hypercall_us)),
            ("phase_return_us", |s| number(s.return_us)),
            ("phase_xenstore_up_us", |s| number(s.xenstore_up_us)),
            ("phase_vif_connected_us", |s| number(s.vif_connected_us)),
            ("phase_first_frame_us", |s| number(s.first_frame_us)),
            ("phase_first_ack_us", |s| number(s.first_ack_us)),
        ];
        for (key, pick) in picks {
            let values: Vec<f64> = self.suspends.iter().filter_map(pick).collect();
            figures.spread(lab, key, &values);
        }
        if let Some(counts) = self.last {
            figures.value(lab, "pages_resident", json!(counts.resident_frames));
        }
        if let Some(mib) = self.free_mib {
            figures.value(lab, "host_free_mib", json!(mib));
        }
        for (key, counts) in [("after_first", self.first), ("after_last", self.last)] {
            if let Some(counts) = counts {
                let [grants, ports, free_frames] = counts.kept();
                let value = json!({"grants": grants, "ports": ports, "free_frames": free_frames});
                figures.value(lab, key, value);
            }
        }
    }
}

fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}
