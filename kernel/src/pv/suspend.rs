//! The suspend itself: how a PV domain leaves itself to be saved, and finds
//! itself again (`tools/libs/guest/xg_sr_save_x86_pv.c`,
//! `xg_sr_restore_x86_pv.c`).
//!
//! Page tables need nothing: the domain builder pinned the top-level table,
//! so everything that hangs on it is typed, and the toolstack translates it.

use super::{frame_lists, hypercall, p2m, start_info, window};

/// Event channels that the domain builder makes.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// Of the console ring.
    pub(crate) console: u32,
    /// Of the xenstore ring.
    pub(crate) store: u32,
}

/// How the hypercall returned.
pub(crate) enum Returned {
    /// In the same domain: nothing has changed.
    Cancelled,
    /// In a new one. Its p2m list and page tables are right; event channels,
    /// grants and everything that was registered with Xen are gone.
    NewDomain(Ports),
}

/// Suspends the domain and returns when it goes on. `is_same_domain` is asked
/// where the hypercall returned 0, which may mean either; it is given the ports
/// that start_info names then.
///
/// # Panics
/// When something foreign is still mapped, which is a bug of who mapped it.
pub(crate) fn suspend(is_same_domain: impl FnOnce(Ports) -> bool) -> Returned {
    let info = start_info::start_info();
    if let Err(address) = window::detach() {
        window::attach(&info);
        panic!("{address:#x} still maps a foreign page: this domain cannot be suspended");
    }
    info.name_rings_by_frame();
    let page = p2m::machine_frame(info.own_frame());
    // SAFETY: the window is empty and the rings are named, see above.
    let result = unsafe { hypercall::suspend(page) };
    if result != Ok(0) {
        info.name_rings_by_machine_frame();
    }
    window::attach(&info);
    let ports = Ports {
        console: info.console_port(),
        store: info.store_port(),
    };
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
