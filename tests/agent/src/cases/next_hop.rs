//! A next hop that is away, refuses, hangs up or dies: no accepted mail may be lost, and no mail
//! may be accepted before it is delivered.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::mail::body::{Content, text_mail};
use labkit::mail::client::{Client, send, wire_form};
use labkit::mail::ledger::{Form, Ledger};
use labkit::mail::sink::Sink;
use labkit::{Case, Deadline, Guest, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("next_hop_down", 60, down),
    Case::new("next_hop_faults", 120, faults),
    Case::new("next_hop_dies_mid_data", 60, dies),
];

fn down(lab: &Lab) -> Result<String> {
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let mail = text_mail("down", 5000, lab.seed()?)?;
    for _ in 0..3 {
        send(guest.port(25), &mail)?.expect_class(4, "without a next hop")?;
    }
    let sink = Sink::start(&[])?;
    delivered_once(&guest, &sink, &mail).context("with a next hop again")?;
    domain.running()?;
    Ok("4xx while it is away, 250 when it is back".into())
}

/// Options of smtp-sink, and the class of the reply that the relay's client must get.
const FAULTS: &[(&[&str], u16)] = &[
    // Refused for now.
    (&["-r", "CONNECT"], 4),
    (&["-r", "MAIL"], 4),
    (&["-r", "RCPT"], 4),
    (&["-r", "DATA"], 4),
    (&["-r", "."], 4),
    // Refused for good.
    (&["-f", "MAIL"], 5),
    (&["-f", "RCPT"], 5),
    (&["-f", "DATA"], 5),
    (&["-f", "."], 5),
    // Hung up: whether the mail arrived is unknown, so the client must try again.
    (&["-q", "CONNECT"], 4),
    (&["-q", "EHLO"], 4),
    (&["-q", "MAIL"], 4),
    (&["-q", "RCPT"], 4),
    (&["-q", "DATA"], 4),
    (&["-q", "."], 4),
    (&["-Q", "MAIL"], 4),
    (&["-Q", "."], 4),
    // Old servers: no ESMTP (RFC 5321, 3.2: HELO instead), no pipelining, no 8BITMIME.
    (&["-e"], 2),
    (&["-p"], 2),
    (&["-8"], 2),
    (&["-f", "EHLO"], 2),
    // Slow, but not too slow.
    (&["-w", "2"], 2),
];

fn faults(lab: &Lab) -> Result<String> {
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let mail = text_mail("fault", 20_000, lab.seed()?)?;
    let mut wrong = Vec::new();
    for (options, class) in FAULTS {
        let sink = Sink::start(options)?;
        let reply = send(guest.port(25), &mail).with_context(|| options.join(" "))?;
        if reply.code / 100 != *class {
            let text = reply.lines.join(" / ");
            let options = options.join(" ");
            wrong.push(format!(
                "{options}: {} {text} instead of {class}xx",
                reply.code
            ));
            continue;
        }
        if options.last() == Some(&".") {
            // smtp-sink has stored the whole mail by then, although it refuses it.
            continue;
        }
        // A mail is delivered exactly if it was accepted.
        let expected = usize::from(*class == 2);
        if let Err(error) = sink.wait_for_count(expected, Deadline::seconds(5)) {
            wrong.push(format!("{}: {error}", options.join(" ")));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    domain.running()?;
    Ok(format!("{} kinds of next hop", FAULTS.len()))
}

fn dies(lab: &Lab) -> Result<String> {
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let mail = text_mail("dies", 4_000_000, lab.seed()?)?;
    let wire = wire_form(&std::fs::read(mail.file.path()).context("the mail's file")?);
    let (first, second) = wire.split_at(wire.len() / 2);

    let mut sink = Sink::start(&[])?;
    let mut client = Client::ready(guest.port(25), Deadline::seconds(40))?;
    client.begin_data()?;
    client.send(first)?;
    // The relay streams: much of the first half arrives before the second is sent.
    Deadline::seconds(15).poll(Duration::from_millis(50), "the first half", || {
        Ok((sink.bytes()? > first.len() as u64 / 2).then_some(()))
    })?;
    sink.kill();
    drop(sink);
    // The relay must take the rest and refuse the mail for now on a session that goes on, or say
    // 421 and close.
    let answer = match client.send(second) {
        Ok(()) => client.command(".")?,
        Err(_) => client
            .reply()
            .context("the connection broke without a reply")?,
    };
    let answer = answer.expect_class(4, "a next hop that died")?;

    let sink = Sink::start(&[])?;
    delivered_once(&guest, &sink, &mail).context("the mail sent again")?;
    domain.running()?;
    Ok(format!(
        "{} in mid-data, delivered when sent again",
        answer.code
    ))
}

fn delivered_once(guest: &Guest, sink: &Sink, mail: &Content) -> Result<()> {
    send(guest.port(25), mail)?.expect(250, "the mail")?;
    let mut ledger = Ledger::default();
    ledger.note(mail, Form::Body, 1);
    ledger.check(&sink.arrived()?).map(drop)
}
