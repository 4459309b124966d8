//! Everything that libvirt does with a guest on one host, under one connection where that survives.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use labkit::libvirt::Managed;
use labkit::lines;
use labkit::migration::SaveFile;
use labkit::stats::rounded;
use labkit::survival::{healthy, none_left};
use labkit::traffic::compared::Compared;
use labkit::traffic::echo::{EchoClient, Pace};
use labkit::{Case, Deadline, Lab, Witness};
use serde_json::{Map, json};

use super::{example, flows, guest};

pub(super) const CASES: &[Case] = &[Case::new("libvirt_ladder", 600, ladder)];

/// What the guest is left with by `virsh setmem`, in MiB.
const LESS_MIB: u64 = 12;

/// How long the guest may take to serve.
const READY_S: u64 = 60;

/// How long the guest may take to shut down, and libvirt to notice.
const SHUTDOWN_S: u64 = 60;

/// How long a suspended domain is watched to stay silent.
const SILENCE: Duration = Duration::from_secs(2);

/// How long bytes under way may take to come back at the end.
const DRAIN: Duration = Duration::from_secs(30);

fn ladder(lab: &Lab) -> Result<String> {
    let managed = Managed::define(&lab.part, &example::xml(lab.job.guest, &lab.part)?)?;
    managed.expect_state("shut off")?;
    boot(lab, &managed)?;
    let client = EchoClient::start(guest(lab).port(7), lab.seed()?, Pace::Modest)?;
    flows(&client)?;
    let climbed = climb(lab, &managed, &client);
    let traffic = client.stop(DRAIN)?;
    // The figures of a ladder that broke show how far it came.
    let compared = Compared::from(&traffic);
    lab.report.result(compared.figures("ladder_"));
    climbed.with_context(|| managed.domain().console().tail())?;
    traffic.check()?;
    healthy(managed.domain())?;

    lab.report.phase("virsh shutdown");
    managed.shutdown()?;
    managed.wait_state("shut off", Deadline::seconds(SHUTDOWN_S))?;
    let console = managed.domain().console();
    console.wait_for(&lines::SHUTDOWN, Deadline::seconds(5))?;

    lab.report.phase("virsh start, virsh destroy");
    boot(lab, &managed)?;
    managed.destroy()?;
    managed.expect_state("shut off")?;
    none_left(&[])?;
    Ok(format!(
        "define, start, suspend, resume, setmem, save, restore, shutdown, destroy; {compared}"
    ))
}

/// Starts the domain and waits until its guest says on the console that it serves.
pub(super) fn boot(lab: &Lab, managed: &Managed) -> Result<()> {
    let console = managed.domain().console();
    let asked = console.end();
    let begin = Instant::now();
    managed.start()?;
    console.wait_since(asked, &lines::ECHO_READY, Deadline::seconds(READY_S))?;
    managed.expect_state("running")?;
    lab.report.log(format!(
        "virsh start, and the guest serves after {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Suspend and resume, setmem, save and restore.
fn climb(lab: &Lab, managed: &Managed, client: &EchoClient) -> Result<()> {
    let domain = managed.domain();
    lab.report.phase("virsh suspend, virsh resume");
    managed.suspend()?;
    managed.expect_state("paused")?;
    if client.flows(Deadline::after(SILENCE)).is_ok() {
        bail!("libvirt says that the domain is paused, and it answers");
    }
    managed.resume()?;
    managed.expect_state("running")?;
    flows(client)?;

    lab.report.phase("virsh setmem");
    let asked = domain.console().end();
    managed.set_memory(LESS_MIB)?;
    let told = domain
        .console()
        .wait_since(asked, &lines::MEMORY_TARGET, Deadline::seconds(30))?;
    ensure!(
        !told.contains(lines::TARGET_REFUSED.text),
        "refused: {told}"
    );
    lab.report.log(told);
    flows(client)?;

    lab.report.phase("virsh save, virsh restore");
    let mut witness = Witness::of(domain)?;
    let file = SaveFile::fresh();
    let begin = Instant::now();
    managed.save(&file)?;
    let saved = begin.elapsed();
    managed.expect_state("shut off")?;
    managed.restore(&file)?;
    let restored = begin.elapsed() - saved;
    let suspend = witness.moved()?;
    flows(client)?;
    managed.expect_state("running")?;
    lab.report
        .log(format!("the guest's own account: {suspend:?}"));
    let figures = [
        ("saved_bytes", json!(file.bytes())),
        ("save_ms", json!(rounded(saved.as_secs_f64() * 1000.0))),
        (
            "restore_ms",
            json!(rounded(restored.as_secs_f64() * 1000.0)),
        ),
    ];
    let figures = figures.map(|(key, value)| (key.to_owned(), value));
    lab.report.result(Map::from_iter(figures));
    Ok(())
}
