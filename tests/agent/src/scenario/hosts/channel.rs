//! A guest that shares memory with one on this host migrates out and back under streams both ways:
//! over TCP while they are apart, through shared memory again when they are together.
//!
//! Between two releases of Xen there is no way back. Then the guests of a fresh pair are parted each
//! time.

use std::time::Duration;

use anyhow::{Context, Result};
use labkit::hosts::RemoteHost;
use labkit::pair::Pair;
use labkit::survival::{none_left, nothing_bad};
use labkit::{Case, Deadline, Lab};

use super::journey::{Journey, Way};

pub(super) const CASES: &[Case] = &[Case::new("hosts_channel", 900, channel).live()];

/// The guests' numbers; the second one migrates.
const NUMBERS: [u8; 2] = [5, 6];

fn channel(lab: &Lab) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let trips = params.round_trips;
    if remote.returns()? {
        let mut pair = Pair::start(lab, lab.mode()?, NUMBERS)?;
        for _ in 0..trips {
            part(lab, &remote, &mut pair)?;
            join(lab, &remote, &mut pair)?;
        }
        let told = pair.finish()?;
        return Ok(format!("{} migrations, {told}", 2 * trips));
    }
    let mut told = Vec::new();
    for _ in 0..trips {
        let mut pair = Pair::start(lab, lab.mode()?, NUMBERS)?;
        part(lab, &remote, &mut pair)?;
        told.push(pair.finish_apart()?);
        // The next pair has the same names and addresses.
        remote.destroy_all()?;
    }
    Ok(format!("{trips} migrations one way, {}", told.join("; ")))
}

/// Guest B migrates to the second host, and the streams go on over TCP.
fn part(lab: &Lab, remote: &RemoteHost, pair: &mut Pair) -> Result<()> {
    migrate(lab, remote, pair, Way::There)?;
    pair.flow().context("between the hosts")?;
    apart(pair)?;
    none_left(&[&pair.a.domain])?;
    healthy(&remote.console(&pair.b.domain.name)?, Way::There)
}

/// Guest B comes back, and the streams go on through shared memory.
fn join(lab: &Lab, remote: &RemoteHost, pair: &mut Pair) -> Result<()> {
    migrate(lab, remote, pair, Way::Back)?;
    pair.share().context("on one host again")?;
    healthy(&pair.b.domain.console().text(), Way::Back)
}

fn migrate(lab: &Lab, remote: &RemoteHost, pair: &Pair, way: Way) -> Result<()> {
    let journey = Journey::new(lab, remote, &pair.b.domain, NUMBERS[1]);
    let moved = journey.migrate(way)?;
    lab.report.log(format!(
        "{way:?}: xl took {:.1} s, {:?} pages",
        moved.sent.took_ms / 1000.0,
        moved.pages()
    ));
    journey.check_place(way)
}

fn healthy(console: &str, way: Way) -> Result<()> {
    nothing_bad(console).with_context(|| format!("after going {way:?}"))
}

/// Waits until the guest that stays knows that its peer is elsewhere.
fn apart(pair: &Pair) -> Result<()> {
    Deadline::seconds(60).poll(Duration::from_millis(500), "the end of the link", || {
        let linked = pair.a.status()?.has_link(pair.b.guest.ip());
        Ok((!linked).then_some(()))
    })
}
