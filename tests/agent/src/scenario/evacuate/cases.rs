//! What happens to the guests.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use labkit::hosts::RemoteHost;
use labkit::migration::SaveFile;
use labkit::stats::rounded;
use labkit::{Case, Deadline, Lab};
use serde_json::{Map, Value, json};

use super::Parameters;
use super::fleet::{Fleet, Streamed, Way};

pub(super) const CASES: &[Case] = &[
    Case::new("evacuate_all", 1500, all).live(),
    Case::new("evacuate_destroyed", 1500, destroyed).live(),
];

/// How long after `vmc_wait` what was kept must be free. The guest's timers are exact; the lab's
/// processors are not.
const GRACE: Duration = Duration::from_secs(60);

fn both(lab: &Lab) -> Result<(Parameters, RemoteHost)> {
    let parameters = lab.parameters()?;
    Ok((parameters, RemoteHost::find(Deadline::seconds(60))?))
}

/// All guests go out and come back, with nothing lost.
fn all(lab: &Lab) -> Result<String> {
    let (parameters, remote) = both(lab)?;
    let mut fleet = Fleet::start(lab, &parameters)?;
    let everybody: Vec<_> = (0..parameters.guests).collect();
    let mut took = Vec::new();
    for _ in 0..parameters.round_trips {
        for way in [Way::There, Way::Back] {
            let moved = fleet.migrate(&everybody, &remote, way)?;
            fleet.flow(&everybody).with_context(|| format!("{way:?}"))?;
            fleet
                .stay_off_netfront(&everybody)
                .with_context(|| format!("{way:?}"))?;
            lab.report.log(format!(
                "{way:?}: {} guests in {:.1} s",
                everybody.len(),
                moved.as_secs_f64()
            ));
            took.push(rounded(moved.as_secs_f64()));
        }
        fleet.share(&everybody)?;
    }
    settled(&fleet, &everybody, Deadline::after(GRACE))?;
    failed(&fleet, &everybody, 0)?;
    let streamed = fleet.finish(&everybody)?;
    report(lab, "", &streamed, &json!(took))?;
    Ok(told(
        &streamed,
        2 * parameters.round_trips * everybody.len(),
    ))
}

/// The last guest is suspended while the others are under way, and never comes back. What the others
/// keep for it is free after `vmc_wait`, and nothing else is harmed.
fn destroyed(lab: &Lab) -> Result<String> {
    let (parameters, remote) = both(lab)?;
    let mut fleet = Fleet::start(lab, &parameters)?;
    let victim = parameters.guests - 1;
    let others: Vec<_> = (0..victim).collect();
    let (saved, moved) = thread::scope(|scope| {
        let domain = &fleet.guests[victim].domain;
        let saving = scope.spawn(move || -> Result<Instant> {
            // Its file is removed with it: this guest does not come back.
            domain.save(&SaveFile::fresh(), false)?;
            Ok(Instant::now())
        });
        let moved = fleet.migrate(&others, &remote, Way::There);
        let saved = saving.join();
        (
            saved.unwrap_or_else(|_| Err(anyhow!("the save panicked"))),
            moved,
        )
    });
    let (saved, moved) = (saved?, moved?);
    let bound = Duration::from_secs(parameters.wait_s) + GRACE;
    let left = bound.saturating_sub(saved.elapsed());
    let lost = fleet.lose(victim, Deadline::after(left))?;
    let lost_after = saved.elapsed();
    fleet.flow(&others)?;
    fleet.stay_off_netfront(&others)?;
    let back = fleet.migrate(&others, &remote, Way::Back)?;
    fleet.flow(&others)?;
    fleet.share(&others)?;
    let left = bound.saturating_sub(saved.elapsed());
    settled(&fleet, &others, Deadline::after(left))?;
    failed(&fleet, &others, 1)?;
    let streamed = fleet.finish(&others)?;
    let took = [moved, back].map(|took| rounded(took.as_secs_f64()));
    report(lab, "destroyed_", &streamed, &json!(took))?;
    Ok(format!(
        "{lost} connections of the guest that was destroyed were over after {:.0} s; {}",
        lost_after.as_secs_f64(),
        told(&streamed, 2 * others.len())
    ))
}

/// Waits until these guests keep nothing for any guest that was suspended.
fn settled(fleet: &Fleet, who: &[usize], deadline: Deadline) -> Result<()> {
    for &place in who {
        let bench = &fleet.guests[place];
        let what = format!("{} to keep nothing for others", bench.domain.name);
        deadline.poll(Duration::from_millis(500), &what, || {
            let unsettled = bench.status()?.of_all("unsettled")?;
            Ok((unsettled == 0).then_some(()))
        })?;
    }
    Ok(())
}

/// Fails if a guest has lost more connections than `most` with their links, or pages for good.
fn failed(fleet: &Fleet, who: &[usize], most: u64) -> Result<()> {
    for &place in who {
        let status = fleet.guests[place].status()?;
        let failed = status.of_all("failed")?;
        ensure!(
            failed <= most,
            "guest {place}: {failed} connections failed: {status:?}"
        );
        for name in ["quarantined", "bugs"] {
            let left = status.of_all(name)?;
            ensure!(left == 0, "guest {place}: {left} {name}: {status:?}");
        }
    }
    Ok(())
}

/// Reports the figures; fails if a stream was reset, or has lost or changed a byte.
fn report(lab: &Lab, prefix: &str, streamed: &Streamed, took: &Value) -> Result<()> {
    let figures = [
        ("streams", json!(streamed.streams)),
        ("compared_bytes", json!(streamed.bytes)),
        ("broken_streams", json!(streamed.broken.len())),
        ("longest_gap_ms", json!(streamed.gap_ms)),
        ("took_s", took.clone()),
    ];
    let figures = figures.map(|(key, value)| (format!("{prefix}{key}"), value));
    lab.report.result(Map::from_iter(figures));
    ensure!(streamed.broken.is_empty(), "{:?}", streamed.broken);
    Ok(())
}

fn told(streamed: &Streamed, migrations: usize) -> String {
    format!(
        "{migrations} migrations; {} streams, {} bytes compared, 0 lost, 0 resets, longest gap {} ms",
        streamed.streams, streamed.bytes, streamed.gap_ms
    )
}
