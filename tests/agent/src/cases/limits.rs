//! The relay's limits: too long, too large, too many, or only half a line end.

use anyhow::{Context, Result, bail};
use labkit::mail::body::text_mail;
use labkit::mail::client::{Client, send};
use labkit::mail::sink::Sink;
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("smtp_limits", 90, limits),
    Case::new("session_limit", 60, sessions),
];

/// The largest mail that the relay takes in these cases, in bytes.
const MAX_SIZE: usize = 300_000;

fn limits(lab: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, &format!("max-size={MAX_SIZE} max-line=998"));
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(75);
    let connect = || Client::ready(guest.port(25), deadline);

    long_command(&mut connect()?).context("a command line of 3000 bytes")?;
    endless_command(connect()?).context("a command line without an end")?;
    for (mail, what) in [
        (long_line(), "a text line of 2000 bytes"),
        (
            b"Subject: x\r\n\r\na bare\nline feed\r\n".to_vec(),
            "a bare LF",
        ),
        (
            b"Subject: x\r\n\r\na bare\rreturn\r\n".to_vec(),
            "a bare CR",
        ),
        (
            b"Subject: x\r\n\r\nend?\n.\nMAIL FROM:<evil@client.test>\r\n".to_vec(),
            "an end of mail with bare LF",
        ),
        (
            b"Subject: x\r\n\r\nend?\r\n.\nMAIL FROM:<evil@client.test>\r\n".to_vec(),
            "an end of mail with half a CRLF",
        ),
    ] {
        refused_data(connect()?, &mail).context(what)?;
    }
    too_large(&mut connect()?)?;
    let recipients = too_many_recipients(&mut connect()?)?;

    sink.wait_for_count(0, Deadline::seconds(5))
        .context("refused mails were delivered")?;
    // After all that, an ordinary mail just below the limit passes.
    let mail = text_mail("fits", MAX_SIZE - 20_000, lab.seed()?)?;
    send(guest.port(25), &mail)?.expect(250, "a mail below the limit")?;
    sink.wait_for_count(1, Deadline::seconds(5))
        .context("the mail below the limit")?;
    domain.running()?;
    Ok(format!(
        "lines, line ends, sizes; {recipients} recipients accepted"
    ))
}

fn long_command(client: &mut Client) -> Result<()> {
    let line = format!("NOOP {}", "x".repeat(3000));
    client.command(&line)?.expect_class(5, "the long line")?;
    client.command("NOOP")?.expect(250, "the next line")?;
    Ok(())
}

/// A megabyte without a line end is refused or cut off, but never buffered.
fn endless_command(mut client: Client) -> Result<()> {
    for _ in 0..64 {
        if client.send(&[b'x'; 16 * 1024]).is_err() {
            // The relay has closed the connection.
            return Ok(());
        }
    }
    match client.command("").map(|reply| reply.code / 100) {
        Ok(4 | 5) | Err(_) => Ok(()),
        Ok(class) => bail!("answered {class}xx"),
    }
}

fn long_line() -> Vec<u8> {
    let mut mail = b"Subject: x\r\n\r\n".to_vec();
    mail.extend([b'y'; 2000]);
    mail.extend(b"\r\n");
    mail
}

/// The mail is refused for good, with one reply. The session then goes on in step or ends: if the
/// two sides may disagree about the end of the mail, ending it is the safe way.
fn refused_data(mut client: Client, mail: &[u8]) -> Result<()> {
    client.begin_data()?;
    client.send(mail)?;
    client.command(".")?.expect_class(5, "the mail")?;
    match client.command("NOOP") {
        Ok(reply) if reply.code == 421 => Ok(()),
        Ok(reply) => reply.expect(250, "the next command").map(drop),
        Err(_) => Ok(()),
    }
}

fn too_large(client: &mut Client) -> Result<()> {
    // RFC 1870, 6.1: 552 for a declared size above the fixed limit.
    let declared = format!("MAIL FROM:<a@client.test> SIZE={}", MAX_SIZE + 1);
    client
        .command(&declared)?
        .expect(552, "SIZE above the limit")?;
    client.begin_data()?;
    let line = [[b'z'; 76].as_slice(), b"\r\n"].concat();
    for _ in 0..=MAX_SIZE / line.len() + 100 {
        client.send(&line)?;
    }
    client.command(".")?.expect(552, "a mail above the limit")?;
    client
        .command("NOOP")?
        .expect(250, "after the large mail")?;
    Ok(())
}

/// At least 100 recipients are accepted (RFC 5321, 4.5.3.1.8), but not any number.
fn too_many_recipients(client: &mut Client) -> Result<usize> {
    client
        .command("MAIL FROM:<a@client.test>")?
        .expect(250, "MAIL")?;
    for number in 0..5000 {
        let reply = client.command(&format!("RCPT TO:<user{number}@sink.test>"))?;
        if reply.code == 250 {
            continue;
        }
        if number < 100 {
            bail!("only {number} recipients were accepted: {}", reply.code);
        }
        // RFC 5321, 4.5.3.1.10: 452, so that the client sends the rest in another transaction.
        reply.expect(452, "one recipient too many")?;
        client.command("RSET")?.expect(250, "RSET")?;
        return Ok(number);
    }
    bail!("5000 recipients were accepted")
}

fn sessions(lab: &Lab) -> Result<String> {
    let _sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(45);
    let mut open = Vec::new();
    for number in 1..=20 {
        let client = Client::ready(guest.port(25), deadline);
        open.push(client.with_context(|| format!("session {number}"))?);
    }
    let (one_more, reply) = Client::connect(guest.port(25), deadline).context("session 21")?;
    reply.expect(421, "session 21")?;
    if !one_more.closed() {
        bail!("session 21 was not closed after its 421");
    }
    for (number, client) in open.iter_mut().enumerate() {
        let reply = client
            .command("NOOP")
            .with_context(|| format!("session {number}"))?;
        reply.expect(250, "NOOP beside a refused session")?;
    }
    if let Some(client) = open.pop() {
        client.quit()?;
    }
    // The place of a session that has ended is soon free again.
    deadline.poll(
        std::time::Duration::from_millis(100),
        "a free place",
        || {
            let (_, reply) = Client::connect(guest.port(25), deadline)?;
            Ok((reply.code == 220).then_some(()))
        },
    )?;
    domain.running()?;
    Ok("20 sessions, the 21st gets 421".into())
}
