//! What one run of a scenario needs, and the name of the run.

use labkit::{Scenario, Share};

use crate::overlay::Overlay;
use crate::packages::{Store, XenVersion};

/// What one run of a scenario needs.
pub(crate) struct Plan {
    /// The scenario; its folder has its name.
    pub(crate) scenario: &'static Scenario,
    /// The hypervisor's release.
    pub(crate) xen: XenVersion,
    /// The program that serves the xenstore.
    pub(crate) store: Store,
    /// Each machine's memory in MiB.
    pub(crate) memory_mib: u32,
    /// Whether time is counted in instructions.
    pub(crate) virtual_time: bool,
    /// The share of the scenario's cases, if other machines run the others.
    pub(crate) share: Option<Share>,
    /// What goes into dom0.
    pub(crate) overlay: Overlay,
}

impl Plan {
    /// Returns the name of the run and of its folder. A share, and a Xen or xenstored other than
    /// the default, are part of it, so that results stand side by side.
    pub(crate) fn name(&self) -> String {
        let mut name = self.scenario.name.to_owned();
        if let Some(Share { number, of }) = self.share {
            name = format!("{name}-{number}-of-{of}");
        }
        if self.xen != XenVersion::DEFAULT {
            name = format!("{name}-{}", self.xen.packages().xen);
        }
        if self.store != Store::DEFAULT {
            name = format!("{name}-{}", self.store.program());
        }
        name
    }
}
