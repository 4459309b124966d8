//! A guest that shares memory with one on this host migrates out and back under streams both ways:
//! over TCP while they are apart, through shared memory again when they are together.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use labkit::lines;
use labkit::pair::Pair;
use labkit::survival::zombies;
use labkit::{Case, Deadline, Lab};

use super::journey::{Journey, Way};

pub(super) const CASES: &[Case] = &[Case::new("hosts_channel", 900, channel)];

/// The guests' numbers; the second one migrates.
const NUMBERS: [u8; 2] = [5, 6];

fn channel(lab: &Lab) -> Result<String> {
    let (params, remote) = super::both(lab)?;
    let mut pair = Pair::start(lab, lab.mode()?, NUMBERS)?;
    for _ in 0..params.round_trips {
        for way in [Way::There, Way::Back] {
            let journey = Journey::new(lab, &remote, &pair.b.domain, NUMBERS[1]);
            let moved = journey.migrate(way)?;
            journey.check_place(way)?;
            match way {
                Way::There => {
                    pair.flow().context("between the hosts")?;
                    apart(&pair)?;
                    let left = zombies(&[&pair.a.domain])?;
                    if !left.is_empty() {
                        bail!("left over on this host: {left:?}");
                    }
                }
                Way::Back => pair.share().context("on one host again")?,
            }
            let console = match way {
                Way::There => remote.console(&pair.b.domain.name)?,
                Way::Back => pair.b.domain.console().text(),
            };
            if let Some(line) = lines::first_bad(&console) {
                bail!("on the console after going {way:?}: {line}");
            }
            lab.report.log(format!(
                "{way:?}: xl took {:.1} s, {:?} pages; the streams go on",
                moved.sent.took_ms / 1000.0,
                moved.pages()
            ));
        }
    }
    let told = pair.finish()?;
    Ok(format!("{} migrations, {told}", 2 * params.round_trips))
}

/// Waits until the guest that stays knows that its peer is elsewhere.
fn apart(pair: &Pair) -> Result<()> {
    Deadline::seconds(60).poll(Duration::from_millis(500), "the end of the link", || {
        let linked = pair.a.status()?.has_link(pair.b.guest.ip());
        Ok((!linked).then_some(()))
    })
}
