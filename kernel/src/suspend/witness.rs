//! Tells a cancelled suspend from a new domain when the hypercall's result does
//! not.
//!
//! libxl 4.14 forgets, for a PV domain, that a suspend is being cancelled
//! (`libxl_dom_suspend.c:libxl__domain_resume`): after `xl save -c` and after a
//! failed migration it takes the path for guests that do not know cancelled
//! suspends (`xc_resume.c:xc_domain_resume_any`), which puts the rings' machine
//! frames back into start_info and leaves the returned value as it is. A PVH domain
//! is no better off. A channel made by this guest tells the two apart: it exists only in the old
//! domain.

use crate::event::{self, ChannelStatus};
use crate::platform::Ports;

/// The port of a channel that this guest made before the suspend, if there is
/// one.
pub(super) struct Witness(Option<u32>);

impl Witness {
    /// Chooses a channel.
    pub(super) fn choose() -> Self {
        Self(event::own_port())
    }

    /// Returns whether the channel still exists, and is none of those made by
    /// the domain builder: then this is the domain that was suspended.
    pub(super) fn exists_beside(&self, builder: Ports) -> bool {
        self.0.is_some_and(|port| {
            port != builder.store
                && port != builder.console
                && matches!(
                    event::status(port),
                    Ok(ChannelStatus::Unbound | ChannelStatus::Connected)
                )
        })
    }
}
