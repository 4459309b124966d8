//! One mode of the channel, from the boot of the two guests to their end.

use anyhow::{Context, Result, bail};
use labkit::bench::{end, nothing_failed, well};
use labkit::{Lab, Mode};

use super::pair::Pair;
use super::rows::Rows;
use super::{Parameters, idle, once, quiesce};

/// Bytes of each write.
const WRITE: usize = 16 * 1024;

/// More than is ever sent.
const ENDLESS: u64 = 1 << 40;

/// Boots the guests and migrates them idle, under streams, and with many connections.
pub(super) fn measure(lab: &Lab, params: &Parameters, mode: Mode, rows: &mut Rows) -> Result<()> {
    let mut pair = Pair::boot(lab, mode)?;
    for _ in 0..params.control_count.min(params.count) {
        idle::migrate(lab, &pair.benches[1], rows)?;
    }
    let echo = [1, 0].map(|which: usize| pair.benches[which].guest.port(7));
    pair.order(0, &format!("connect {} 1", echo[0]))?;
    pair.linked()?;
    // Each guest has a stream that its peer echoes and that it compares, so a guest that migrates
    // is at the sending and the receiving end of both.
    let mut streams: Vec<_> = [0, 1]
        .map(|which| {
            pair.benches[which].begin(format!("verify {} {WRITE} {ENDLESS} 0", echo[which]))
        })
        .into();
    let count = if params.arms.last() == Some(&mode) {
        params.count
    } else {
        params.count.min(params.control_count)
    };
    let mut moved = pair.goes_on();
    for number in 0..count {
        if moved.is_ok() {
            let which = [1, 0][number % 2];
            moved = once::migrate(lab, params, &mut pair, which, rows)
                .with_context(|| format!("migration {}", number + 1));
        }
    }
    if moved.is_ok() {
        // The stream of guest 0 is left, which guest 1 echoes.
        pair.order(1, "stop")?;
        rows.stream(streams.pop().map(end));
        moved = quiesce::measure(lab, params, &mut pair, rows);
    }
    // A stream that has failed is known already, and a guest that is gone cannot take the order.
    let stopped = [pair.order(0, "stop"), pair.order(1, "stop")];
    for stream in streams {
        if moved.is_ok() || stream.is_finished() || stopped.iter().all(Result::is_ok) {
            rows.stream(Some(end(stream)));
        }
    }
    let streams = rows.streams_failed();
    moved.with_context(|| streams.clone())?;
    if !streams.is_empty() {
        bail!("{streams}");
    }
    let [a, b] = &pair.benches;
    if mode != Mode::Off {
        for bench in [a, b] {
            let status = bench.status()?;
            nothing_failed(&status)?;
            if status.of_all("quarantined")? != 0 {
                bail!("pages quarantined: {status:?}");
            }
        }
    }
    well(&[a, b])
}
