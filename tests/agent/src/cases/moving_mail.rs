//! A relay that is migrated in the middle of a mail.

use std::net::SocketAddr;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use labkit::mail::body::text_mail;
use labkit::mail::client::{Client, wire_form};
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::Sink;
use labkit::migration::{Options, migrate};
use labkit::survival::healthy;
use labkit::{Case, Deadline, Lab, Witness};

pub(super) const CASES: &[Case] = &[Case::new("relay_migrates_mid_mail", 240, moving).live()];

/// The mail's size.
const BYTES: usize = 3 * 1024 * 1024;

/// Bytes sent before the migration begins, enough for the sink to have some of them.
const BEFORE: usize = BYTES / 4;

/// Bytes kept back until the migration is over.
const RESERVE: usize = BYTES / 4;

/// Bytes of one write during the migration. With the pause after it, the part between would last
/// some ten seconds.
const PIECE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(25);

/// The mail is under way on both of the relay's connections before and while the relay migrates. It
/// must arrive once, with its hash unchanged.
fn moving(lab: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let mut witness = Witness::of(&domain)?;
    let mail = text_mail("moving", BYTES, lab.seed()?)?;
    let wire = wire_form(&std::fs::read(mail.file.path()).context("the mail's file")?);

    let deadline = Deadline::seconds(150);
    let mut client = Client::ready(SocketAddr::new(guest.ip().into(), 25), deadline)?;
    client.begin_data()?;
    client.send(&wire[..BEFORE])?;
    deadline.poll(PAUSE, "the mail's beginning at the sink", || {
        Ok((sink.bytes()? > BEFORE as u64 / 2).then_some(()))
    })?;

    let (migration, during, handed_on) = thread::scope(|scope| {
        let before = sink.bytes()?;
        let migration = scope.spawn(|| migrate(&domain, &Options::default()));
        let mut sent = BEFORE;
        while !migration.is_finished() {
            if sent + PIECE < wire.len() - RESERVE {
                client.send(&wire[sent..sent + PIECE])?;
                sent += PIECE;
            }
            sleep(PAUSE);
        }
        let migration = migration.join().map_err(|_| anyhow!("xl panicked"))??;
        let handed_on = sink.bytes()? - before;
        anyhow::Ok((migration, sent, handed_on))
    })?;
    let migration = migration.expect_success()?;
    witness.moved()?;
    client.send(&wire[during..])?;
    client.command(".")?.expect(250, "the end of the mail")?;
    client.quit()?;

    let mut ledger = Ledger::default();
    ledger.note(&mail, Form::Body, 1);
    ledger.check(&sink.arrived()?)?;
    healthy(&domain)?;
    if during == BEFORE || handed_on == 0 {
        bail!(
            "{} bytes went in and {handed_on} out meanwhile",
            during - BEFORE
        );
    }
    Ok(format!(
        "{:.1} s; {} bytes went in and {handed_on} out meanwhile; one mail, by hash",
        migration.took.as_secs_f64(),
        during - BEFORE
    ))
}
