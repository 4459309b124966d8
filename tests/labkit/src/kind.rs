//! The two kinds of guest that the lab's domains can be.

use serde::{Deserialize, Serialize};

/// What a domU is built as (`type` in xl.cfg(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Paravirtual, in ring 3.
    #[default]
    Pv,
    /// With the processor's virtualisation, and no emulated devices.
    Pvh,
}

impl Kind {
    /// Returns its name in xl's configuration and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pv => "pv",
            Self::Pvh => "pvh",
        }
    }

    /// Returns the further lines of a domain's configuration.
    ///
    /// PVH: the guest reads the processor's own time-stamp counter. Otherwise Xen emulates it where
    /// it does not trust it, and QEMU's software emulation loops for ever in an intercepted RDTSCP,
    /// which Linux uses.
    #[must_use]
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Pv => "",
            Self::Pvh => "tsc_mode = \"native\"\n",
        }
    }
}
