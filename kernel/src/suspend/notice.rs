//! The early notice: detects that pre-copy has begun.
//!
//! libxl binds the guest's suspend event channel before the first page is saved and releases it
//! when the save ends without a suspend
//! (`tools/libs/light/libxl_dom_suspend.c:libxl__domain_suspend_init`). No event tells the guest,
//! but `EVTCHNOP_status` does: the channel is unbound before, and interdomain from then on.
//!
//! The run loop checks while it runs; an idle guest is not woken for it.

use crate::event::{self, ChannelStatus};
use crate::lifecycle::{Phase, parts, timing};
use crate::time::Instant;
use crate::vcpu_cell::VcpuCell;
use core::time::Duration;

/// Shortest time between two checks.
const INTERVAL: Duration = Duration::from_millis(10);

struct Notice {
    /// The port of the suspend event channel, once it is published in xenstore.
    port: Option<u32>,
    given: bool,
    next: Instant,
}

static NOTICE: VcpuCell<Notice> = VcpuCell::new(Notice {
    port: None,
    given: false,
    next: Instant::from_nanos(0),
});

/// Starts watching `port`, which the toolstack may bind from now on.
pub(super) fn watch(port: u32) {
    NOTICE.borrow().port = Some(port);
}

/// Ends the notice: the channel is gone with its domain.
pub(super) fn forget_channel() {
    let mut notice = NOTICE.borrow();
    notice.port = None;
    notice.given = false;
}

/// Checks the channel, at most every 10 ms, and tells all parts if it has changed.
pub(crate) fn look(now: Instant) {
    let mut notice = NOTICE.borrow();
    let Some(port) = notice.port else { return };
    if now < notice.next {
        return;
    }
    notice.next = now + INTERVAL;
    let given = is_bound(port);
    if given == notice.given {
        return;
    }
    notice.given = given;
    // A part may call back into this module.
    drop(notice);
    let phase = if given {
        Phase::EarlyNotice
    } else {
        Phase::NoticeWithdrawn
    };
    log::info!("lifecycle: {phase}");
    timing::reached(phase);
    for part in parts() {
        if given {
            part.early_notice();
        } else {
            part.notice_withdrawn();
        }
    }
}

/// Asks Xen whether the toolstack has bound the channel.
pub(super) fn is_given() -> bool {
    let port = NOTICE.borrow().port;
    port.is_some_and(is_bound)
}

/// Returns whether the guest would notice a pre-copy. If not, no frame may leave the p2m: a frame
/// that the toolstack has already sent would come back in the new domain while the guest takes it
/// for absent.
pub(crate) fn is_forewarned() -> bool {
    NOTICE.borrow().port.is_some()
}

fn is_bound(port: u32) -> bool {
    matches!(event::status(port), Ok(ChannelStatus::Connected))
}
