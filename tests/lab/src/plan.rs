//! What one run of a scenario needs, and the name of the run.

use labkit::{Kind, Scenario, Share};

use crate::overlay::Overlay;
use crate::packages::{Store, XenVersion};

/// What one run of a scenario needs.
pub(crate) struct Plan {
    /// The scenario; its folder has its name.
    pub(crate) scenario: &'static Scenario,
    /// The hypervisor's release, on the first of two machines.
    pub(crate) xen: XenVersion,
    /// The hypervisor's release on the second machine, if there are two.
    pub(crate) second_xen: XenVersion,
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
    /// Returns the hypervisor's release on each machine, in their order.
    pub(crate) fn releases(&self) -> impl Iterator<Item = XenVersion> {
        [self.xen, self.second_xen]
            .into_iter()
            .take(self.scenario.hosts)
    }

    /// Returns the name of the run and of its folder. A share, and a Xen, kind of guest or
    /// xenstored other than the default, are part of it, so that results stand side by side.
    pub(crate) fn name(&self) -> String {
        let mut name = self.scenario.name.to_owned();
        if let Some(Share { number, of }) = self.share {
            name = format!("{name}-{number}-of-{of}");
        }
        let [xen, second_xen] = [self.xen, self.second_xen].map(|xen| xen.packages().xen);
        if self.xen != self.second_xen {
            name = format!("{name}-{xen}-to-{second_xen}");
        } else if self.xen != XenVersion::DEFAULT {
            name = format!("{name}-{xen}");
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
