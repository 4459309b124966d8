//! The suspend itself. Memory and registers are as they were afterwards, and nothing
//! has to be translated; only what Xen itself put at guest frames is gone in a new
//! domain.
//!
//! The toolstack empties the pages of the console and xenstore rings in a new domain
//! (`tools/libs/guest/xg_sr_restore_x86_hvm.c`).

use super::{foreign, hypercall, ports};
use crate::platform::{Ports, Returned};
use crate::shared_info;

/// Suspends the domain; see [`platform::suspend`](crate::platform::suspend).
pub(in crate::platform) fn suspend(is_same_domain: impl FnOnce(Ports) -> bool) -> Returned {
    // A save could do with it. But the domain of the page's owner would not end while
    // this one waits, suspended.
    if let Some(address) = foreign::leftover() {
        panic!("{address:#x} still maps a foreign page: this domain cannot be suspended");
    }
    shared_info::set_mapped(false);
    let result = hypercall::suspend();
    foreign::attach();
    let ports = ports();
    match result {
        Ok(0) if is_same_domain(ports) => Returned::Cancelled,
        Ok(0) => {
            foreign::forget_grant_table();
            Returned::NewDomain(ports)
        }
        Ok(_) => Returned::Cancelled,
        Err(error) => {
            log::error!("lifecycle: Xen refused the suspend: {error}");
            Returned::Cancelled
        }
    }
}
