//! The suspend itself: how a PV domain leaves itself to be saved, and finds
//! itself again (`tools/libs/guest/xg_sr_save_x86_pv.c`,
//! `xg_sr_restore_x86_pv.c`).
//!
//! Page tables need nothing: the domain builder pinned the top-level table,
//! so everything that hangs on it is typed, and the toolstack translates it.

use super::{StartInfo, hypercall, machine_frame, p2m, start_info, window};
use crate::event::{self, ChannelStatus};

/// How the hypercall returned.
pub(crate) enum Returned {
    /// In the same domain: nothing has changed.
    Cancelled,
    /// In a new one. Its p2m list and page tables are right; event channels,
    /// grants and everything that was registered with Xen are gone.
    NewDomain {
        /// Event channel of the console ring.
        console_port: u32,
        /// Event channel of the xenstore ring.
        store_port: u32,
    },
}

/// Suspends the domain and returns when it goes on.
///
/// # Panics
/// When something foreign is still mapped, which is a bug of who mapped it.
pub(crate) fn suspend() -> Returned {
    let info = start_info::start_info();
    if let Err(address) = window::detach() {
        window::attach(&info);
        panic!("{address:#x} still maps a foreign page: this domain cannot be suspended");
    }
    let witness = event::own_port();
    info.name_rings_by_frame();
    let page = machine_frame(info.own_frame());
    // SAFETY: the window is empty and the rings are named, see above.
    let result = unsafe { hypercall::suspend(page) };
    if result != Ok(0) {
        info.name_rings_by_machine_frame();
    }
    window::attach(&info);
    match result {
        Ok(0) if is_same_domain(&info, witness) => return Returned::Cancelled,
        Ok(0) => {}
        Ok(_) => return Returned::Cancelled,
        Err(error) => {
            log::error!("lifecycle: Xen refused the suspend: {error}");
            return Returned::Cancelled;
        }
    }
    p2m::publish(&info);
    Returned::NewDomain {
        console_port: info.console_port(),
        store_port: info.store_port(),
    }
}

/// Whether a domain whose hypercall returned 0 is the old one after all.
///
/// libxl 4.14 forgets, for a PV domain, that a suspend is to be cancelled
/// (`libxl_dom_suspend.c:libxl__domain_resume`): after `xl save -c` and after
/// a failed migration it takes the way for guests that do not know of a
/// cancelled suspend (`xc_resume.c:xc_domain_resume_any`), which puts the
/// rings' machine frames back into start_info and leaves the returned value
/// as it is. A channel that this guest made tells the two apart: it exists in
/// the old domain only.
fn is_same_domain(info: &StartInfo, witness: Option<u32>) -> bool {
    witness.is_some_and(|port| {
        port != info.store_port()
            && port != info.console_port()
            && matches!(
                event::status(port),
                Ok(ChannelStatus::Unbound | ChannelStatus::Connected)
            )
    })
}
