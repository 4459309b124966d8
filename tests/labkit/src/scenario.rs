//! A scenario: what `cargo lab NAME` runs, and what it needs of the host.
//!
//! A scenario is a constant beside the code that it runs; the crate of scenarios lists them in one
//! table. The host reads the same table to know what to build and boot, and to refuse what a
//! scenario cannot use before it does either.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::case::Case;
use crate::guest::Image;
use crate::lab::Lab;
use crate::parameters::{ParameterTable, ParameterValue};
use crate::supervisor::Supervisor;

/// The part of a scenario's limit that is left for the boot and the machine's end.
const BOOT_MARGIN: Duration = Duration::from_secs(5 * 60);

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// The images that it boots; the first is the one that its figures are about.
    pub images: &'static [Image],
    /// Whether it boots the image of docs/appliance.md, which the host builds from the page's text.
    pub from_docs: bool,
    /// How many machines it takes. Two have their networks joined, and the agent on the second
    /// serves the agent on the first.
    pub hosts: usize,
    /// Whether its guests may stay on the second machine, so that the machines may have different
    /// releases of Xen.
    pub one_way: bool,
    /// Each machine's memory in MiB.
    pub memory_mib: u32,
    /// dom0's share of it in MiB.
    pub dom0_mib: u32,
    /// The limit for everything, from power-on.
    pub limit: Duration,
    /// Whether it boots a Linux domU.
    pub linux: Linux,
    /// Whether dom0 has libvirt, with its daemon running.
    pub libvirt: bool,
    /// Whether a run without figures has failed.
    pub figures: bool,
    /// Which clock it is run with.
    pub clock: Clock,
    /// Whether it needs a Xen that can migrate PV guests live. If it has cases, those that do are
    /// marked ([`Case::live`]), and the others can be run without.
    pub live: bool,
    /// What it can be told.
    pub parameters: ParameterTable,
    /// What the agent does.
    pub work: Work,
}

/// Whether a scenario boots a Linux domU. Its kernel and root make every boot of dom0 slower.
#[derive(Clone, Copy, Debug)]
pub enum Linux {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// It does if its parameters ask for it.
    If(fn(&Map<String, Value>) -> bool),
}

/// Which clock a scenario is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Wall-clock time: its machines' virtual clocks would drift apart.
    WallOnly,
    /// Wall-clock time as a rule; nothing in it is measured closely.
    Wall,
    /// Virtual time as a rule: its figures repeat only then.
    Virtual,
}

/// What the agent does for a scenario.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// One part, in one process; returns what came of it.
    Once(fn(&Lab) -> Result<String>),
    /// Cases, each in a process of its own.
    Cases {
        /// All of them, in their order.
        all: fn() -> Vec<Case>,
        /// Runs those that the parameters ask for.
        conduct: fn(&Supervisor<'_>) -> Result<()>,
    },
}

impl Scenario {
    /// A scenario on one machine of 2 GiB, half of it dom0's, with 20 minutes and nothing special.
    #[must_use]
    pub const fn new(
        name: &'static str,
        about: &'static str,
        parameters: ParameterTable,
        work: Work,
    ) -> Self {
        Self {
            name,
            about,
            images: &[],
            from_docs: false,
            hosts: 1,
            one_way: false,
            memory_mib: 2048,
            dom0_mib: 1024,
            limit: Duration::from_secs(20 * 60),
            linux: Linux::No,
            libvirt: false,
            figures: true,
            clock: Clock::Wall,
            live: false,
            parameters,
            work,
        }
    }

    /// Whether it boots a Linux domU, given these parameters.
    #[must_use]
    pub fn wants_linux(&self, given: &Map<String, Value>) -> bool {
        match self.linux {
            Linux::No => false,
            Linux::Yes => true,
            Linux::If(asked) => asked(given),
        }
    }

    /// Whether what these parameters ask for needs a Xen that can migrate PV guests live.
    #[must_use]
    pub fn wants_live(&self, given: &Map<String, Value>) -> bool {
        let only = given.get("only").and_then(Vec::<String>::read);
        let only = only.unwrap_or_default();
        let cases = self.cases();
        let mut asked = cases
            .iter()
            .filter(|case| only.iter().any(|name| name == case.name));
        let all = only.is_empty() || cases.is_empty();
        self.live && (all || asked.any(|case| case.live))
    }

    /// Returns the limit for the agent's own part. It ends before the host's, because the agent can
    /// say more about what hangs.
    #[must_use]
    pub fn part_limit(&self) -> Duration {
        self.limit.saturating_sub(BOOT_MARGIN)
    }

    /// Returns its cases; none if it is one part.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        match self.work {
            Work::Once(_) => Vec::new(),
            Work::Cases { all, .. } => all(),
        }
    }
}

/// Returns a limit in minutes.
#[must_use]
pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}
