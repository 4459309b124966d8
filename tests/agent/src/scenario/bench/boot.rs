//! How soon the relay answers, and how little memory it needs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use labkit::mail::banner::{banner_after, boot};
use labkit::mail::body::text_mail;
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::Sink;
use labkit::mail::source::{Sessions, smtp_source};
use labkit::{Deadline, Domain, Figures, Guest, Lab};
use serde_json::json;

/// How many boots make a median.
const BOOTS: usize = 5;

/// Memory sizes to try in MiB, downwards from the supported one.
const SIZES_MIB: [u64; 7] = [8, 7, 6, 5, 4, 3, 2];

/// Times the way to the banner from the end of `xl create`; and, because the guest already runs
/// while `xl create` tidies up, from the start of `xl unpause` of a domain that was created paused.
pub(super) fn banner(lab: &Lab, _repeats: usize, figures: &mut Figures) -> Result<()> {
    let _sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let (mut after_create, mut creates, mut after_unpause) = (vec![], vec![], vec![]);
    for _ in 0..BOOTS {
        let (domain, ms) = boot(&guest)?;
        after_create.push(ms);
        creates.push(domain.create_took.as_secs_f64() * 1000.0);
        drop(domain);
        after_unpause.push(from_unpause(&guest)?);
    }
    figures.spread(lab, "boot_to_banner_ms", &after_create);
    figures.spread(lab, "unpause_to_banner_ms", &after_unpause);
    figures.spread(lab, "xl_create_ms", &creates);
    Ok(())
}

fn from_unpause(guest: &Guest) -> Result<f64> {
    let domain = Domain::create_paused(guest.config())?;
    // The hotplug script and the bridge need to settle.
    sleep(Duration::from_millis(300));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let unpause = scope.spawn(|| domain.unpause());
        let ms = banner_after(guest, start, Deadline::seconds(20));
        match unpause.join() {
            Ok(result) => result.map(drop)?,
            Err(_) => bail!("xl unpause panicked"),
        }
        ms
    })
}

/// Finds the smallest memory with which the relay boots and passes on a mail of 1 MB.
pub(super) fn smallest_memory(lab: &Lab, _repeats: usize, figures: &mut Figures) -> Result<()> {
    let mut smallest = None;
    for mib in SIZES_MIB {
        match relays_with(lab, mib) {
            Ok(()) => smallest = Some(mib),
            Err(error) => {
                lab.report.log(format!("{mib} MiB: {error:#}"));
                break;
            }
        }
    }
    let smallest = smallest.with_context(|| format!("not even {} MiB will do", SIZES_MIB[0]))?;
    figures.value(lab, "smallest_memory_mib", json!(smallest));
    Ok(())
}

fn relays_with(lab: &Lab, mib: u64) -> Result<()> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, mib, "");
    let domain = guest.start_ready()?;
    let mail = text_mail("small", 1_000_000, mib)?;
    let output = smtp_source(
        guest.port(25),
        &mail,
        1,
        Sessions::Kept(1),
        Duration::from_secs(30),
    )?;
    if !output.status.success() {
        bail!("smtp-source: {}", output.text.trim());
    }
    let mut ledger = Ledger::default();
    ledger.note(&mail, Form::BodyAndLine, 1);
    ledger.check(&sink.arrived()?)?;
    domain.running().map(drop)
}
