//! The suspend itself: how a PV domain prepares to be saved, and recovers
//! afterwards (`tools/libs/guest/xg_sr_save_x86_pv.c`,
//! `xg_sr_restore_x86_pv.c`).
//!
//! Page tables need no preparation: the domain builder pinned the top-level
//! table, so all tables below it are typed, and the toolstack translates them.

use super::{foreign, frame_lists, p2m, start_info};
use crate::hypercall::Refused;
use crate::platform::hypercall;

/// Suspends the domain; returns what the hypercall did.
///
/// # Panics
/// If something foreign is still mapped, which is a bug in the part that mapped
/// it.
pub(in crate::platform) fn suspend() -> Result<u64, Refused> {
    let info = start_info::start_info();
    if let Err(address) = foreign::detach() {
        foreign::attach(&info);
        panic!("{address:#x} still maps a foreign page: this domain cannot be suspended");
    }
    info.name_rings_by_frame();
    let page = p2m::machine_frame(info.own_frame());
    // SAFETY: the window is empty and the rings are named, see above.
    let result = unsafe { hypercall::suspend(page) };
    if result != Ok(0) {
        info.name_rings_by_machine_frame();
    }
    foreign::attach(&info);
    result
}

/// Tells a new domain's toolstack where the p2m list is.
pub(in crate::platform) fn settle_in() {
    frame_lists::publish(&start_info::start_info());
}
