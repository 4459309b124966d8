//! What it costs to migrate an idle relay.

use anyhow::Result;
use labkit::mail::client::Client;
use labkit::survival::{counts, healthy};
use labkit::{Deadline, Figures, Lab, Witness};
use serde_json::json;

use super::echo::MEMORY_MIB;
use super::measure::Rows;

/// Migrates an idle relay `count` times. Its R_d (pages sent for each page of its memory) is the
/// scenario's own.
pub(super) fn idle(lab: &Lab, count: u32, figures: &mut Figures) -> Result<()> {
    lab.report.phase(format!("idle relay, {MEMORY_MIB} MiB"));
    let guest = lab.relay(3, MEMORY_MIB, "");
    let domain = guest.start_ready()?;
    // One short session first: a relay that has never worked has touched less memory.
    Client::ready(guest.port(25), Deadline::seconds(20))?.quit()?;
    let mut witness = Witness::of(&domain)?;
    let mut rows = Rows::default();
    let moved = (0..count).try_for_each(|_| {
        rows.migrate(lab, &domain, None, || witness.moved())
            .map(drop)
    });
    rows.keep(lab, "relay_", MEMORY_MIB, figures);
    figures.rename("relay_r_d", "r_d");
    moved?;
    let resident = counts(&domain)?.resident_frames;
    figures.value(lab, "relay_pages_resident", json!(resident));
    // It still answers.
    Client::ready(guest.port(25), Deadline::seconds(30))?.quit()?;
    healthy(&domain)
}
