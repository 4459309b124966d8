//! One mode of the channel, from the boot of its two guests to their end.

use anyhow::{Context, Result, bail};
use labkit::bench::{Bench, end, flows, nothing_failed, well};
use labkit::survival::zombies;
use labkit::traffic::bench::{Answer, CONTROL, Control};
use labkit::{Deadline, Lab, Mode};

use super::rows::Rows;
use super::{MEMORY_MIB, Parameters, idle, once, quiesce};

/// Bytes of each write.
const WRITE: usize = 16 * 1024;

/// More than is ever sent.
const ENDLESS: u64 = 1 << 40;

/// The two guests, and an order line to each that lives through their migrations.
pub(super) struct Pair {
    pub(super) benches: [Bench; 2],
    controls: [Control; 2],
    pub(super) mode: Mode,
}

impl Pair {
    fn boot(lab: &Lab, mode: Mode) -> Result<Self> {
        let boot = |number| Bench::boot(lab, number, MEMORY_MIB, mode.option());
        let benches = [boot(2)?, boot(3)?];
        let control = |bench: &Bench| Control::connect(bench.guest.port(CONTROL));
        let controls = [control(&benches[0])?, control(&benches[1])?];
        Ok(Self {
            benches,
            controls,
            mode,
        })
    }

    /// Gives guest `which` an order.
    pub(super) fn order(&mut self, which: usize, order: &str) -> Result<Answer> {
        self.controls[which].order(order, Deadline::seconds(180))
    }

    /// Waits until bytes come in at both, and until they share memory again where they did.
    pub(super) fn goes_on(&mut self) -> Result<()> {
        for which in [0, 1] {
            let stalled = || format!("the stream of {}", self.benches[which].domain.name);
            flows(&mut self.controls[which]).with_context(stalled)?;
        }
        self.linked()
    }

    /// Waits until the guests share memory, where they can.
    pub(super) fn linked(&self) -> Result<()> {
        if self.mode == Mode::Off {
            return Ok(());
        }
        let [a, b] = &self.benches;
        labkit::bench::linked(&a.domain, b.guest.ip())?;
        labkit::bench::linked(&b.domain, a.guest.ip())
    }

    /// How many domains are left over.
    pub(super) fn zombies(&self) -> Result<usize> {
        let known = self.benches.each_ref().map(|bench| &bench.domain);
        zombies(&known).map(|left| left.len())
    }
}

/// Boots the guests, migrates them idle, under streams and with many connections.
pub(super) fn measure(lab: &Lab, params: &Parameters, mode: Mode, rows: &mut Rows) -> Result<()> {
    let mut pair = Pair::boot(lab, mode)?;
    for _ in 0..params.control_count.min(params.count) {
        idle::migrate(lab, &pair.benches[1], rows)?;
    }
    let echo = [1, 0].map(|which: usize| pair.benches[which].guest.port(7));
    pair.order(0, &format!("connect {} 1", echo[0]))?;
    pair.linked()?;
    // A stream of each guest's, which its peer echoes and which it compares: what moves is at the
    // sending and at the receiving end of both.
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
        // The stream of the one is left, which the other echoes.
        pair.order(1, "stop")?;
        rows.stream(streams.pop().map(end));
        moved = quiesce::measure(lab, params, &mut pair, rows);
    }
    // Streams that have failed have told so already; a guest that is gone need not be told.
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
