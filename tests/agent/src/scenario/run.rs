//! `run`: the product's main job. A relay with 16 MiB between real clients and a real server;
//! every body that arrives is compared by hash with the one that was sent.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::deadline::Deadline;
use crate::domain::{Domain, can_migrate_live, xen_version};
use crate::lab::{Guest, Lab};
use crate::mail::body::{attachment, text_mail};
use crate::mail::client::Client;
use crate::mail::ledger::{Form, Ledger};
use crate::mail::sink::Sink;
use crate::mail::source::{Sessions, smtp_source, swaks};
use crate::migration::{Options, migrate};
use crate::net::stream;
use crate::process::{Output, tail};
use crate::stats::rounded;

/// The relay's memory.
const MEMORY_MIB: u64 = 16;

/// The mails: a name for the size, its bytes, and how many smtp-source sends. Swaks sends one more
/// of each, as an attachment.
const SIZES: [(&str, usize, usize); 3] = [
    ("1_kb", 1024, 20),
    ("1_mb", 1024 * 1024, 8),
    ("3_mb", 3 * 1024 * 1024, 4),
];

/// The mails that are under way while the relay migrates: their bytes, and how many smtp-source
/// sends before it is asked whether the migration is over.
const MOVING_BYTES: usize = 3 * 1024 * 1024;
const MOVING_MAILS: usize = 4;

/// How many sessions smtp-source opens at once.
const SESSIONS: Sessions = Sessions::Reconnecting(4);

/// The longest that one client may take.
const CLIENT_LIMIT: Duration = Duration::from_secs(180);

pub(super) fn run(lab: &Lab) -> Result<String> {
    let report = &lab.report;
    let mut result = Map::new();
    result.insert("xen".into(), json!(xen_version()?));
    result.insert("memory_mib".into(), json!(MEMORY_MIB));

    report.phase(format!("boot the relay with {MEMORY_MIB} MiB"));
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, MEMORY_MIB, "");
    let (domain, boot_ms) = boot(&guest)?;
    result.insert("boot_ms".into(), json!(rounded(boot_ms)));
    result.insert(
        "create_ms".into(),
        json!(rounded(domain.create_took.as_secs_f64() * 1000.0)),
    );
    report.log(format!("220 banner {boot_ms:.1} ms after xl create"));

    let mut ledger = Ledger::default();
    let seed = lab.seed()?;
    let mut sizes = Map::new();
    for (number, (name, bytes, count)) in SIZES.into_iter().enumerate() {
        let seed = seed + number as u64;
        report.phase(format!("mails of {bytes} bytes"));
        let file = attachment(&format!("swaks-{name}"), bytes, seed)?;
        let by_swaks = accepted(swaks(guest.port(25), &file, CLIENT_LIMIT)?, "swaks")?;
        ledger.note(&file, Form::Attachment, 1);
        let mail = text_mail(&format!("source-{name}"), bytes, seed)?;
        let output = smtp_source(guest.port(25), &mail, count, SESSIONS, CLIENT_LIMIT)?;
        let by_source = accepted(output, "smtp-source")?;
        ledger.note(&mail, Form::BodyAndLine, count);
        report.log(format!(
            "swaks 1 in {by_swaks:.1} s, smtp-source {count} in {by_source:.1} s"
        ));
        let size = json!({
            "bytes": bytes,
            "mails": count + 1,
            "swaks_s": rounded(by_swaks),
            "smtp_source_s": rounded(by_source),
        });
        sizes.insert(name.into(), size);
    }
    result.insert("sizes".into(), Value::Object(sizes));

    if can_migrate_live()? {
        report.phase("migrate the relay live, with mail under way");
        let moved = migrate_under_mail(&guest, &domain, &mut ledger, seed)?;
        report.log(format!(
            "domain {} became domain {} in {:.1} s; {} mails meanwhile",
            moved.from, moved.to, moved.took_s, moved.mails
        ));
        result.insert("migrations".into(), json!(1));
        result.insert("migration_s".into(), json!(rounded(moved.took_s)));
        result.insert("mails_meanwhile".into(), json!(moved.mails));
    } else {
        report.log("this Xen does not migrate PV domains live: the relay stays where it is");
        result.insert("migrations".into(), json!(0));
    }

    report.phase("compare what arrived");
    let balance = ledger.balance(&sink.arrived()?);
    for (key, count) in [
        ("sent", balance.sent),
        ("delivered", balance.delivered),
        ("corrupt", balance.corrupt),
        ("repeated", balance.repeated),
    ] {
        result.insert(key.into(), json!(count));
    }
    let cpu_s = domain.running()?.cpu_s;
    result.insert("guest_cpu_s".into(), json!(cpu_s));
    report.result(result);
    let summary = format!(
        "sent {}, delivered {}, corrupt {}, repeated {}; banner after {boot_ms:.1} ms; {MEMORY_MIB} MiB",
        balance.sent, balance.delivered, balance.corrupt, balance.repeated
    );
    report.log(summary.clone());
    if balance.delivered != balance.sent || balance.corrupt + balance.repeated != 0 {
        bail!("{summary}");
    }
    Ok(summary)
}

/// A migration under mail.
struct Moved {
    from: u32,
    to: u32,
    took_s: f64,
    mails: usize,
}

/// Migrates the relay to the same host while large mails go through it, from before the migration
/// begins until after its end.
fn migrate_under_mail(
    guest: &Guest,
    domain: &Domain,
    ledger: &mut Ledger,
    seed: u64,
) -> Result<Moved> {
    let from = domain.running()?.id;
    let mail = text_mail("source-moving", MOVING_BYTES, seed)?;
    let mut send = || {
        let output = smtp_source(guest.port(25), &mail, MOVING_MAILS, SESSIONS, CLIENT_LIMIT)?;
        ledger.note(&mail, Form::BodyAndLine, MOVING_MAILS);
        accepted(output, "smtp-source")
    };
    let mut mails = 0;
    let migration = thread::scope(|scope| {
        let migration = scope.spawn(|| {
            // The first mails are under way by then.
            thread::sleep(Duration::from_millis(200));
            migrate(domain, &Options::default())
        });
        while !migration.is_finished() {
            send()?;
            mails += MOVING_MAILS;
        }
        migration.join().map_err(|_| anyhow!("xl panicked"))?
    })?;
    let migration = migration.expect_success()?;
    let to = domain.running()?.id;
    if to == from {
        bail!("xl says that it migrated domain {from}, which is still there");
    }
    Ok(Moved {
        from,
        to,
        took_s: migration.took.as_secs_f64(),
        mails,
    })
}

/// Creates the relay and connects until it has sent its banner. Returns the milliseconds from the
/// end of `xl create` to the banner.
pub(super) fn boot(guest: &Guest) -> Result<(Domain, f64)> {
    let domain = guest.start()?;
    let from = domain.created;
    let ms = banner_after(guest, from, Deadline::seconds(20));
    let ms = ms.with_context(|| domain.console().tail())?;
    Ok((domain, ms))
}

/// Milliseconds from `from` until a client has read the 220 banner.
pub(super) fn banner_after(guest: &Guest, from: Instant, deadline: Deadline) -> Result<f64> {
    // Short attempts one after the other: a connection request that is lost because the guest is
    // not there yet would be repeated by dom0's TCP only after a second.
    deadline.poll(Duration::from_millis(1), "the banner", || {
        let attempt = Deadline::after(Duration::from_millis(20));
        let Ok(stream) = stream::connect(guest.port(25), attempt) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(deadline.socket_timeout()))?;
        let (client, banner) = Client::over(stream)?;
        let ms = from.elapsed().as_secs_f64() * 1000.0;
        banner.expect(220, "banner")?;
        client.quit()?;
        Ok(Some(ms))
    })
}

fn accepted(output: Output, program: &str) -> Result<f64> {
    if !output.status.success() {
        bail!("{program} ({}): {}", output.status, tail(&output.text, 6));
    }
    Ok(output.took.as_secs_f64())
}
