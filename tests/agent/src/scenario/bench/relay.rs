//! Mails of 1 MB per second, through the relay and from client to server without it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use labkit::addresses::DOM0;
use labkit::mail::body::{Content, text_mail};
use labkit::mail::sink::{PORT, Sink};
use labkit::mail::source::{Sessions, smtp_source};
use labkit::process::tail;
use labkit::{Figures, Lab};

/// Mails in one run.
const MAILS: usize = 12;

/// Sessions at once.
const SESSIONS: Sessions = Sessions::Kept(4);

pub(super) fn throughput(lab: &Lab, repeats: usize, figures: &mut Figures) -> Result<()> {
    let sink = Sink::start(&[])?;
    let guest = lab.relay(2, 16, "");
    let _domain = guest.start_ready()?;
    let mail = text_mail("bench", 1_000_000, 1)?;
    let direct = SocketAddr::new(IpAddr::V4(DOM0), PORT);
    let (mut relayed, mut straight) = (vec![], vec![]);
    for _ in 0..repeats {
        relayed.push(rate(guest.port(25), &mail)?);
        straight.push(rate(direct, &mail)?);
    }
    let expected = 2 * repeats * MAILS;
    if sink.count()? != expected {
        bail!("{} mails arrived of {expected}", sink.count()?);
    }
    figures.spread(lab, "relay_1_mb_mails_per_s", &relayed);
    figures.spread(lab, "no_relay_1_mb_mails_per_s", &straight);
    Ok(())
}

fn rate(server: SocketAddr, mail: &Content) -> Result<f64> {
    let output = smtp_source(server, mail, MAILS, SESSIONS, Duration::from_secs(180))?;
    if !output.status.success() {
        bail!("smtp-source to {server}: {}", tail(&output.text, 6));
    }
    Ok(MAILS as f64 / output.took.as_secs_f64())
}
