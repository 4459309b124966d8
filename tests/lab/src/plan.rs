//! What one run of a scenario needs, and the name of the run.

use labkit::{Kind, Scenario, Share};

use crate::overlay::Overlay;
use crate::packages::{Store, XenVersion};

/// What one run of a scenario needs.
pub(crate) struct Plan {
    /// The scenario; its folder has its name.
    pub(crate) scenario: &'static Scenario,
    /// The hypervisor's release.
    pub(crate) xen: XenVersion,
    /// What domains are built as.
    pub(crate) guest: Kind,
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
    /// Returns the name of the run and of its folder. A share, and a Xen, kind of guest or
    /// xenstored other than the default, are part of it, so that results stand side by side.
    pub(crate) fn name(&self) -> String {
        let mut name = self.scenario.name.to_owned();
        if let Some(Share { number, of }) = self.share {
            name = format!("{name}-{number}-of-{of}");
        }
        if self.xen != XenVersion::DEFAULT {
            name = format!("{name}-{}", self.xen.packages().xen);
        }
        if self.guest != Kind::default() {
            name = format!("{name}-{}", self.guest.name());
        }
        if self.store != Store::DEFAULT {
            name = format!("{name}-{}", self.store.program());
        }
        name
    }
}
