//! Mail through the relay: many at once, and one larger than the guest.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use labkit::mail::body::{attachment, text_mail};
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::Sink;
use labkit::mail::source::{Sessions, smtp_source, succeeded, swaks};
use labkit::{Case, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("swaks_attachment", 60, attached),
    Case::new("parallel_smtp_200", 120, parallel),
    Case::new("twenty_sessions", 90, twenty),
    Case::new("large_mail_64_mib", 180, large),
];

fn attached(lab: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let _domain = guest.start_ready()?;
    let file = attachment("swaks", 100_000, lab.seed()?)?;
    let took = succeeded(
        swaks(guest.port(25), &file, Duration::from_secs(40))?,
        "swaks",
    )?;
    let mut ledger = Ledger::default();
    ledger.note(&file, Form::Attachment, 1);
    let arrived = sink.arrived()?;
    ledger.check(&arrived)?;
    // The relay's own trace header, and the one that smtp-sink adds (RFC 5321, 4.4).
    let traces = arrived
        .iter()
        .map(|mail| mail.headers.matches("\nReceived:").count());
    let traces: usize = traces.sum();
    if traces != 2 {
        bail!("{traces} Received headers instead of 2");
    }
    Ok(format!(
        "100 KB attached, by hash; swaks took {:.1} s",
        took.as_secs_f64()
    ))
}

fn parallel(lab: &Lab) -> Result<String> {
    many(lab, 200, Sessions::Reconnecting(8), 20_000)
}

fn twenty(lab: &Lab) -> Result<String> {
    // Kept, because a relay still counts a session that is closing: with a new one beside it there
    // would be too many.
    many(lab, 60, Sessions::Kept(20), 50_000)
}

fn many(lab: &Lab, count: usize, sessions: Sessions, bytes: usize) -> Result<String> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let mail = text_mail("many", bytes, lab.seed()?)?;
    let limit = Duration::from_secs(70);
    let start = Instant::now();
    let output = smtp_source(guest.port(25), &mail, count, sessions, limit)?;
    succeeded(output, "smtp-source")?;
    let seconds = start.elapsed().as_secs_f64();
    let mut ledger = Ledger::default();
    ledger.note(&mail, Form::BodyAndLine, count);
    let delivered = ledger.check(&sink.arrived()?)?;
    domain.running()?;
    Ok(format!(
        "{delivered} mails of {bytes} bytes, {sessions:?}, in {seconds:.1} s"
    ))
}

fn large(lab: &Lab) -> Result<String> {
    const BYTES: usize = 64 * 1024 * 1024;
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "max-size=100000000");
    let domain = guest.start_ready()?;
    let mail = text_mail("large", BYTES, lab.seed()?)?;
    let start = Instant::now();
    let output = smtp_source(
        guest.port(25),
        &mail,
        1,
        Sessions::Kept(1),
        Duration::from_secs(150),
    )?;
    succeeded(output, "smtp-source")?;
    let seconds = start.elapsed().as_secs_f64();
    let mut ledger = Ledger::default();
    ledger.note(&mail, Form::BodyAndLine, 1);
    ledger.check(&sink.arrived()?)?;
    let memory = domain.running()?.memory_mib;
    Ok(format!(
        "64 MiB through {memory} MiB in {seconds:.1} s, by hash"
    ))
}
