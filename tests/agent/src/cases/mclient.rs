//! Mail from guest to guest: mclient sends it to the relay, the relay to dom0.

use anyhow::{Context, Result, bail};
use labkit::lines;
use labkit::mail::body::hash;
use labkit::mail::sink::{Arrived, Sink};
use labkit::survival::healthy;
use labkit::{Case, Deadline, Guest, Lab};

pub(super) const CASES: &[Case] = &[Case::new("mclient_relay", 150, send)];

/// The number of users; they send its square of mails.
const USERS: u64 = 3;

/// Bytes of the attached file: not a multiple of a line, so that the last line is short.
const BYTES: usize = 300_001;

fn send(lab: &Lab) -> Result<String> {
    let sink = Sink::start(&[])?;
    let relay = lab.relay(2, 16, "");
    let domain = relay.start_ready()?;
    let client = client(lab, &relay, 3, USERS, BYTES, "");
    let told = run(&client, &sink, USERS, BYTES)?;
    healthy(&domain)?;
    domain.running()?;
    Ok(told)
}

/// Returns a client at 10.0.0.`number` with `n` users, whose mails go to `relay`.
pub(super) fn client(
    lab: &Lab,
    relay: &Guest,
    number: u8,
    n: u64,
    bytes: usize,
    options: &str,
) -> Guest {
    let options = format!("relay={} n={n} size={bytes} {options}", relay.port(25));
    lab.mclient(number, 16, options.trim_end())
}

/// Runs the client to its end and compares what arrived; returns the client's own summary.
pub(super) fn run(client: &Guest, sink: &Sink, n: u64, bytes: usize) -> Result<String> {
    let domain = client.start()?;
    let line = domain
        .console()
        .wait_for(&lines::MCLIENT_DONE, Deadline::seconds(100))
        .with_context(|| domain.console().tail())?;
    let (_, told) = line
        .split_once(lines::MCLIENT_DONE.text)
        .context("its last line")?;
    let mails = n * n;
    if !told.starts_with(&format!("{mails} mails sent, 0 failed")) {
        bail!("the client says: {told}");
    }
    healthy(&domain)?;
    compare(&sink.arrived()?, mails, bytes)?;
    domain
        .wait_gone(Deadline::seconds(15))
        .context("after its last mail")?;
    Ok(format!("{}; by hash", told.trim_end()))
}

/// Fails unless every mail arrived once, with its own file.
fn compare(arrived: &[Arrived], mails: u64, bytes: usize) -> Result<()> {
    let mut missing: Vec<u64> = (1..=mails).collect();
    for mail in arrived {
        let id = mail.id.as_deref().unwrap_or_default();
        let number = id.strip_prefix("mclient-").and_then(|id| id.parse().ok());
        let number: u64 = number.with_context(|| format!("a mail called {id:?}"))?;
        let place = missing.iter().position(|&missing| missing == number);
        missing.swap_remove(place.with_context(|| format!("{id} is one too many"))?);
        let file = mail.attachment().with_context(|| id.to_owned())?;
        if hash(&file) != hash(&file_of(number, bytes)) {
            bail!("{id} has arrived with another file");
        }
    }
    match missing[..] {
        [] => Ok(()),
        _ => bail!("{} of {mails} mails did not arrive", missing.len()),
    }
}

/// Returns the file that mail `number` carries (appliances/mclient/src/mail.rs): the guests'
/// pattern from an offset that depends on the number.
fn file_of(number: u64, bytes: usize) -> Vec<u8> {
    let from = number * 4099;
    (from..from + bytes as u64)
        .map(|n| (n + n / 251) as u8)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Arrived, compare, file_of};

    fn mail(number: u64, file: &[u8]) -> Arrived {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(file);
        Arrived {
            id: Some(format!("mclient-{number}")),
            headers: String::new(),
            body: format!("--next\nContent-Transfer-Encoding: BASE64\n\n{text}\n--next--\n")
                .into_bytes(),
        }
    }

    #[test]
    fn every_mail_is_wanted_once_with_its_own_file() {
        let good = |number| mail(number, &file_of(number, 1000));
        compare(&[good(2), good(1)], 2, 1000).expect("both are right");
        for wrong in [
            vec![good(1)],
            vec![good(1), good(1)],
            vec![good(1), good(3)],
            vec![good(1), mail(2, &file_of(1, 1000))],
            vec![good(1), mail(2, &file_of(2, 999))],
        ] {
            assert!(compare(&wrong, 2, 1000).is_err());
        }
    }
}
