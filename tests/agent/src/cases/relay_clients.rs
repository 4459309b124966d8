//! Whose mail the relay takes, where it refuses to send it, and what it says and counts.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::addresses::DOM0;
use labkit::lines;
use labkit::mail::body::text_mail;
use labkit::mail::client::{Client, send};
use labkit::mail::sink::Sink;
use labkit::{Case, Deadline, Domain, Image, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("relay_policy", 120, policy),
    Case::new("relay_is_its_own_hop", 60, own_hop),
    Case::new("clients_that_go", 90, gone),
];

/// The port of a next hop that takes connections and never says anything.
const SILENT: u16 = 2526;

fn policy(lab: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let mail = text_mail("policy", 2000, lab.seed()?)?;
    // Neither option: the guest's own subnets, in which dom0 is.
    let guest = lab.relay(2, 16, "");
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(100);
    domain.console().wait_for(&lines::OWN_SUBNETS, deadline)?;
    send(guest.port(25), &mail)?.expect(250, "from the own subnet")?;
    let mut client = Client::ready(guest.port(25), deadline)?;
    client.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@sink.test>\r\nDATA\r\nMAIL")?;
    let early = client.reply().and_then(|_| client.reply());
    let early = early.and_then(|_| client.reply()).context("early input")?;
    early.expect(503, "input behind DATA")?;
    counted(&domain, "delivered 1 refused 0 deferred 0", deadline)?;
    drop(domain);

    // Somebody else's network: only postmaster passes.
    let guest = lab.relay(
        3,
        16,
        "allow-from=192.0.2.0/24,2001:db8::/32 hostname=mx.test",
    );
    let domain = guest.start_ready()?;
    let mut client = Client::ready(guest.port(25), deadline)?;
    client
        .command("MAIL FROM:<a@client.test>")?
        .expect(250, "MAIL")?;
    client
        .command("RCPT TO:<b@sink.test>")?
        .expect(550, "from elsewhere")?;
    let line = domain.console().wait_for("550 5.7.1", deadline)?;
    for part in [
        &DOM0.to_string(),
        "client.test",
        "a@client.test",
        "b@sink.test",
    ] {
        if !line.contains(part) {
            bail!("{part} is not in the log: {line}");
        }
    }
    client.command("RSET")?.expect(250, "RSET")?;
    client
        .command("MAIL FROM:<a@client.test>")?
        .expect(250, "MAIL")?;
    client
        .command("RCPT TO:<postmaster@mx.test>")?
        .expect(250, "postmaster")?;
    client.quit()?;
    counted(&domain, "delivered 0 refused 1 deferred 0", deadline)?;
    drop(domain);

    // A network or a domain is enough.
    let guest = lab.relay(4, 16, "allow-from=192.0.2.1 relay-for=sink.test");
    let _domain = guest.start_ready()?;
    send(guest.port(25), &mail)?.expect(250, "to a listed domain")?;
    sink.wait_for_count(2, Deadline::seconds(5))?;
    Ok("own subnets, networks, domains, postmaster; counted by status".into())
}

fn counted(domain: &Domain, counts: &str, deadline: Deadline) -> Result<()> {
    domain.type_line("status")?;
    let line = domain.console().wait_for(&lines::STATUS_MAILS, deadline)?;
    if !line.contains(counts) {
        bail!("{counts:?} expected: {line}");
    }
    Ok(())
}

fn own_hop(lab: &Lab) -> Result<String> {
    let line = format!("ip=10.0.0.2/24 gw={DOM0} next-hop=10.0.0.2:25");
    let guest = lab.guest_with(Image::Relay, 2, 16, &line);
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(45);
    let mut client = Client::ready(guest.port(25), deadline)?;
    client
        .command("MAIL FROM:<a@client.test>")?
        .expect(250, "MAIL")?;
    let reply = client
        .command("RCPT TO:<b@sink.test>")?
        .expect(554, "RCPT")?;
    if !reply.lines.concat().contains("loops back") {
        bail!("answered {}", reply.lines.join(" / "));
    }
    domain.console().wait_for("loops back", deadline)?;
    // No place was taken by the relay itself.
    let others: Result<Vec<_>> = (0..19)
        .map(|_| Client::ready(guest.port(25), deadline))
        .collect();
    others.context("19 other clients")?;
    domain.running()?;
    Ok("554 at once".into())
}

/// Takes connections and keeps them, silently.
fn silent_hop() -> Result<()> {
    let listener = TcpListener::bind((DOM0, SILENT)).context("the silent next hop")?;
    thread::spawn(move || {
        let kept: Vec<TcpStream> = listener.incoming().take(200).flatten().collect();
        drop(kept);
    });
    Ok(())
}

fn gone(lab: &Lab) -> Result<String> {
    silent_hop()?;
    let line = format!("ip=10.0.0.2/24 gw={DOM0} next-hop={DOM0}:{SILENT}");
    let guest = lab.guest_with(Image::Relay, 2, 16, &line);
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(75);
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = Client::ready(guest.port(25), deadline)?;
        client.send(
            b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@sink.test>\r\nRCPT TO:<c@sink.test>\r\n",
        )?;
        if number % 2 == 0 {
            // A client that has read everything leaves with a FIN, any other with a RST.
            client.reply()?.expect(250, "MAIL")?;
        }
        clients.push(client);
    }
    let (_, busy) = Client::connect(guest.port(25), deadline)?;
    busy.expect(421, "a client too many")?;
    thread::sleep(Duration::from_millis(500));
    drop(clients);
    let mut open = Vec::new();
    deadline.poll(Duration::from_millis(200), "20 free places", || {
        let (client, reply) = Client::connect(guest.port(25), deadline)?;
        if reply.code == 220 {
            open.push(client);
        }
        Ok((open.len() == 20).then_some(()))
    })?;
    domain.running()?;
    Ok("20 places are free again while the next hop says nothing".into())
}
