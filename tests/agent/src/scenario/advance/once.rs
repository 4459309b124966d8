//! One migration under the stream, through the meter, with all its measurements.
//!
//! The first round is held to a bandwidth, so that pre-copy lasts long enough to be measured; the
//! other rounds and stop-and-copy run at full speed. The guest that stays reports how fast it
//! receives bytes: its clock keeps running while the other is away.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use labkit::bench::Bench;
use labkit::domain::handover::Handover;
use labkit::domain::lifecycle::Suspend;
use labkit::meter::StreamReport;
use labkit::migration::{Options, start};
use labkit::traffic::bench::CONTROL;
use labkit::traffic::flow::{Sampler, gap_after, longest_gap, rate, unix_ms};
use labkit::{Deadline, Lab, Witness};

use super::Parameters;
use super::pair::Pair;
use super::rows::{Once, Rows};

/// After how many pages the guest is asked which rings are in use. Its connections have moved by
/// then, and most of the first round is still to come.
const ASK_AT_PAGE: u64 = 200;

/// The limit of that wait, and of a whole migration.
const LIMIT: Duration = Duration::from_secs(120);

/// Migrates guest `which` of the pair.
pub(super) fn migrate(
    lab: &Lab,
    params: &Parameters,
    pair: &mut Pair,
    which: usize,
    rows: &mut Rows,
) -> Result<()> {
    let stays = pair.benches[1 - which].guest.port(CONTROL);
    let told = pair
        .benches
        .each_ref()
        .map(|bench| bench.domain.console().end());
    let sampler = Sampler::start(stays)?;
    let begin = unix_ms();
    let moved = &pair.benches[which];
    // Asked before and during pre-copy, so that the question costs the same in both.
    let before = moved.status()?;
    let rest = params.before_ms as f64 - (unix_ms() - begin);
    sleep(Duration::from_secs_f64(rest.max(0.0) / 1000.0));
    let end = unix_ms();
    let (stream, during, suspend) = through_the_meter(moved, params.bandwidth_mbit)?;
    pair.goes_on()?;
    let samples = sampler.stop()?;
    let started = stream.started_unix_ms as f64;
    let (first, last) = precopy(&stream)?;
    let stopped = started + last;
    // Bytes that the guest has left behind may still be read after it has gone, so the time without
    // a byte can be a little shorter than its absence.
    let away_ms = suspend.away_ms.unwrap_or(0) as f64;
    let switch = gap_after(&samples, stopped, away_ms / 2.0).context("no byte came back")?;
    let longest = longest_gap(&samples).context("no samples")?;
    let handovers = [0, 1].map(|number: usize| {
        let console = pair.benches[number].domain.console();
        Handover::all(&console.since(told[number], false).0)
    });
    let once = Once {
        moved: pair.benches[which].guest.ip(),
        throughput_before: rate(&samples, begin, end).context("before the migration")?,
        throughput_precopy: rate(&samples, started + first, stopped).context("during pre-copy")?,
        switch_ms: switch.ms,
        longest_gap_ms: longest.ms,
        longest_gap_at_ms: longest.seen - stopped,
        rings_before: before.rings()?,
        rings: during,
        suspend,
        zombies: pair.zombies()?,
        precopy_ms: last - first,
        stream,
        handovers: handovers.concat(),
    };
    lab.report.log(once.to_string());
    rows.once(once);
    Ok(())
}

/// Migrates the guest; also returns the rings in use during pre-copy, if it reports them.
fn through_the_meter(
    moved: &Bench,
    mbit: u64,
) -> Result<(StreamReport, Option<labkit::channel::Rings>, Suspend)> {
    let mut witness = Witness::of(&moved.domain)?;
    let options = Options {
        bandwidth_mbit: Some(mbit),
        bandwidth_rounds: Some(1),
        pfns: true,
        progress: true,
        limit: LIMIT,
        ..Options::default()
    };
    let mut running = start(&moved.domain, &options)?;
    running.wait_for_page(ASK_AT_PAGE, Deadline::after(LIMIT))?;
    let during = moved.status().context("asked during pre-copy")?;
    let migration = running.wait()?.expect_success()?;
    let suspend = witness.moved()?;
    Ok((migration.stream()?.clone(), during.rings()?, suspend))
}

/// Returns when the first round of pre-copy began and when the last one ended, in milliseconds of
/// the meter.
fn precopy(stream: &StreamReport) -> Result<(f64, f64)> {
    let first = stream.rounds.first();
    let last = stream.rounds.iter().rev().nth(1);
    let (first, last) = first.zip(last).with_context(|| {
        let rounds = stream.rounds.len();
        format!("{rounds} rounds: no pre-copy before stop-and-copy")
    })?;
    Ok((first.start_ms, last.end_ms))
}
