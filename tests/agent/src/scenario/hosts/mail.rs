//! The relay migrates to the second host in the middle of a mail, whose sender and next hop stay
//! here.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use labkit::mail::body::text_mail;
use labkit::mail::client::{Client, wire_form};
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::Sink;
use labkit::survival::FreeMemory;
use labkit::{Case, Deadline, Lab};

use super::journey::{Journey, Way};

pub(super) const CASES: &[Case] = &[Case::new("hosts_relay_mail", 600, relay).live()];

const MAIL_BYTES: usize = 3 * 1024 * 1024;

/// How much of the mail is sent at a time. With the pause in between, the mail lasts longer than
/// the migration.
const PIECE_BYTES: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(250);

/// How much of the mail is kept for the time after the migration.
const LAST_BYTES: usize = MAIL_BYTES / 3;

fn relay(lab: &Lab) -> Result<String> {
    let (_, remote) = super::both(lab)?;
    let sink = Sink::start(&[])?;
    let free = FreeMemory::now()?;
    let guest = lab.relay(4, 16, "");
    let domain = guest.start_ready()?;
    let journey = Journey::new(lab, &remote, &domain, guest.number());
    let mail = text_mail("moving", MAIL_BYTES, lab.seed()?)?;
    let text = std::fs::read(mail.file.path()).context("the mail's file")?;
    let wire = wire_form(&text);

    let mut client = Client::ready(guest.port(25), Deadline::seconds(400))?;
    client.begin_data()?;
    let (first, rest) = wire.split_at(MAIL_BYTES / 3);
    client.send(first)?;
    let arrived = |bytes: u64, deadline: Deadline| {
        deadline.poll(Duration::from_millis(50), "the mail's beginning", || {
            Ok((sink.bytes()? >= bytes).then_some(()))
        })
    };
    // The relay streams: the next hop already has some of the mail.
    arrived(PIECE_BYTES as u64, Deadline::seconds(30))?;
    let started = Instant::now();
    let (sent_meanwhile, moved) = thread::scope(|scope| {
        let (over, is_over) = mpsc::channel();
        let journey = &journey;
        let migration = scope.spawn(move || {
            let moved = journey.migrate(Way::There);
            // The client may have failed and be gone.
            let _ = over.send(());
            moved
        });
        let sent = trickle(&mut client, rest, &is_over);
        let moved = migration.join().map_err(|_| anyhow!("a panic"));
        (sent, moved)
    });
    moved??;
    let sent_meanwhile = sent_meanwhile?;
    let took = started.elapsed();
    client.send(&rest[sent_meanwhile..])?;
    client.command(".")?.expect(250, "the end of the mail")?;
    client.quit()?;
    journey.check_place(Way::There)?;
    free.again(&[])?;
    let mut ledger = Ledger::default();
    ledger.note(&mail, Form::Body, 1);
    ledger.check(&sink.arrived()?)?;
    if sent_meanwhile == 0 {
        bail!("nothing was sent while the relay moved");
    }
    Ok(format!(
        "3 MB by hash, {} KB of it while the relay moved for {:.1} s",
        sent_meanwhile / 1024,
        took.as_secs_f64()
    ))
}

/// Sends `rest` slowly until the migration is over, but keeps the last of it back. Returns how many
/// bytes were sent.
fn trickle(client: &mut Client, rest: &[u8], is_over: &Receiver<()>) -> Result<usize> {
    let end = rest.len() - LAST_BYTES;
    let mut sent = 0;
    loop {
        if sent < end {
            let next = (sent + PIECE_BYTES).min(end);
            client.send(&rest[sent..next])?;
            sent = next;
        }
        match is_over.recv_timeout(PAUSE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(sent),
        }
    }
}
