//! The two guests of one mode, with their control connections.

use anyhow::{Context, Result};
use labkit::bench::{Bench, flows, linked};
use labkit::survival::zombies;
use labkit::traffic::bench::{Answer, CONTROL, Control};
use labkit::{Deadline, Lab, Mode};

use super::MEMORY_MIB;

/// The two guests, each with a control connection that lives through their migrations.
pub(super) struct Pair {
    pub(super) benches: [Bench; 2],
    controls: [Control; 2],
    pub(super) mode: Mode,
}

impl Pair {
    /// Boots the guests with the option for `mode`.
    pub(super) fn boot(lab: &Lab, mode: Mode) -> Result<Self> {
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

    /// Waits until both guests compare bytes, and share memory again if the mode lets them.
    pub(super) fn goes_on(&mut self) -> Result<()> {
        for which in [0, 1] {
            let stalled = || format!("the stream of {}", self.benches[which].domain.name);
            flows(&mut self.controls[which]).with_context(stalled)?;
        }
        self.linked()
    }

    /// Waits until the guests share memory, if the mode lets them.
    pub(super) fn linked(&self) -> Result<()> {
        if self.mode == Mode::Off {
            return Ok(());
        }
        let [a, b] = &self.benches;
        linked(&a.domain, b.guest.ip())?;
        linked(&b.domain, a.guest.ip())
    }

    /// Returns how many domains are left over.
    pub(super) fn zombies(&self) -> Result<usize> {
        let known = self.benches.each_ref().map(|bench| &bench.domain);
        zombies(&known).map(|left| left.len())
    }
}
