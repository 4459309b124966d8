//! `run`: the product's main job. A relay with 16 MiB stands between real clients and a real
//! server; every body that arrives is compared by hash with the one that was sent.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use labkit::domain::{can_migrate_live, xen_version};
use labkit::mail::banner::boot;
use labkit::mail::body::{attachment, text_mail};
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::Sink;
use labkit::mail::source::{Sessions, smtp_source, succeeded, swaks};
use labkit::migration::{Options, migrate};
use labkit::parameters::ParameterTable;
use labkit::scenario::Work;
use labkit::stats::rounded;
use labkit::{DEFAULT_SEED, Domain, Guest, Image, Lab, Scenario};
use serde_json::{Map, Value, json};

/// The relay's memory.
const MEMORY_MIB: u64 = 16;

/// The mails: a name for the size, the bytes, and how many smtp-source sends. Swaks sends one more
/// of each, as an attachment.
const SIZES: [(&str, usize, usize); 3] = [
    ("1_kb", 1024, 20),
    ("1_mb", 1024 * 1024, 8),
    ("3_mb", 3 * 1024 * 1024, 4),
];

/// The mails under way while the relay migrates: their bytes, and how many smtp-source sends
/// between two checks whether the migration is over.
const MOVING_BYTES: usize = 3 * 1024 * 1024;
const MOVING_MAILS: usize = 4;

/// How many sessions smtp-source opens at once.
const SESSIONS: Sessions = Sessions::Reconnecting(4);

/// The limit of one client.
const CLIENT_LIMIT: Duration = Duration::from_secs(180);

pub(crate) const SCENARIO: Scenario = Scenario {
    images: &[Image::Relay],
    ..Scenario::new(
        "run",
        "the relay as a PV domU passes real mail on and migrates meanwhile; bodies are compared by hash",
        ParameterTable::of::<Parameters>(),
        Work::Once(run),
    )
};

labkit::parameters! {
    /// What `run` can be told.
    struct Parameters {
        /// The seed of everything random.
        seed: u64 = DEFAULT_SEED;
    }
}

fn run(lab: &Lab) -> Result<String> {
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
    let Parameters { seed } = lab.parameters()?;
    let mut sizes = Map::new();
    for (number, (name, bytes, count)) in SIZES.into_iter().enumerate() {
        let seed = seed + number as u64;
        report.phase(format!("mails of {bytes} bytes"));
        let file = attachment(&format!("swaks-{name}"), bytes, seed)?;
        let output = swaks(guest.port(25), &file, CLIENT_LIMIT)?;
        let by_swaks = succeeded(output, "swaks")?.as_secs_f64();
        ledger.note(&file, Form::Attachment, 1);
        let mail = text_mail(&format!("source-{name}"), bytes, seed)?;
        let output = smtp_source(guest.port(25), &mail, count, SESSIONS, CLIENT_LIMIT)?;
        let by_source = succeeded(output, "smtp-source")?.as_secs_f64();
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

    if can_migrate_live(lab.job.guest)? {
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
        succeeded(output, "smtp-source")
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
