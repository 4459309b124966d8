//! The suspend itself: how a PV domain prepares to be saved, and recovers
//! afterwards (`tools/libs/guest/xg_sr_save_x86_pv.c`,
//! `xg_sr_restore_x86_pv.c`).
//!
//! Page tables need no preparation: the domain builder pinned the top-level
//! table, so all tables below it are typed, and the toolstack translates them.

use super::{foreign, frame_lists, hypercall, p2m, start_info};
use crate::platform::{Ports, Returned};

/// Suspends the domain and returns when it continues. If the hypercall returns
/// 0, which can mean either outcome, `is_same_domain` decides; it gets the
/// ports that start_info names then.
///
/// # Panics
/// If something foreign is still mapped, which is a bug in the part that mapped
/// it.
pub(in crate::platform) fn suspend(is_same_domain: impl FnOnce(Ports) -> bool) -> Returned {
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
    let ports = info.ports();
    match result {
        Ok(0) if is_same_domain(ports) => return Returned::Cancelled,
        Ok(0) => {}
        Ok(_) => return Returned::Cancelled,
        Err(error) => {
            log::error!("lifecycle: Xen refused the suspend: {error}");
            return Returned::Cancelled;
        }
    }
    frame_lists::publish(&info);
    Returned::NewDomain(ports)
}
