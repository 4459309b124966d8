//! How long a guest takes to quiesce, by the number of connections. One of them carries the stream.

use anyhow::{Context, Result, bail};
use labkit::bench::flows;
use labkit::traffic::bench::{CONTROL, Control};
use labkit::{Lab, Mode, Witness};

use super::Parameters;
use super::idle::migrate_now;
use super::pair::Pair;
use super::rows::{CONNECTIONS, Rows};

/// Migrates the guest that echoes, [`Parameters::quiesce_count`] times with each number.
pub(super) fn measure(
    lab: &Lab,
    params: &Parameters,
    pair: &mut Pair,
    rows: &mut Rows,
) -> Result<()> {
    let echo = pair.benches[1].guest.port(7);
    let mut control = Control::connect(pair.benches[0].guest.port(CONTROL))?;
    let mut held = 0;
    for connections in CONNECTIONS {
        let more = connections - 1 - held;
        if more > 0 {
            let answer = pair.order(0, &format!("hold {echo} {more}"))?;
            held = answer.number("held")?;
        }
        for _ in 0..params.quiesce_count {
            let moved = &pair.benches[1];
            if pair.mode != Mode::Off {
                // This shows that the connections have rings.
                let status = moved.status()?;
                let pages = status.of_all("mapped")? + status.of_all("granted")?;
                rows.shared_pages(connections, pages);
            }
            let mut witness = Witness::of(&moved.domain)?;
            migrate_now(moved)?;
            let suspend = witness.moved()?;
            flows(&mut control).with_context(|| format!("{connections} connections"))?;
            pair.linked()?;
            let zombies = pair.zombies()?;
            lab.report.log(format!(
                "{connections} connections: settled after {:?} us, quiesced after {:?} us, own {:?} us, {zombies} zombies",
                suspend.settled_us, suspend.quiesced_us, suspend.own_us
            ));
            rows.quiesced(connections, &suspend, zombies);
        }
    }
    // Every connection has lived through it.
    let released = pair.order(0, "release")?.number("released")?;
    if released != held {
        bail!("{released} of {held} connections were released");
    }
    Ok(())
}
