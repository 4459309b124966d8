//! The suspend itself. Memory and registers are as they were afterwards, and nothing
//! has to be translated; only what Xen itself put at guest frames is gone in a new
//! domain.
//!
//! The toolstack empties the pages of the console and xenstore rings in a new domain
//! (`tools/libs/guest/xg_sr_restore_x86_hvm.c`).

use super::foreign;
use crate::hypercall::Refused;
use crate::platform::hypercall;
use crate::shared_info;

/// Suspends the domain; returns what the hypercall did.
///
/// # Panics
/// If a page of another domain is still mapped. A save could do with it, but the
/// domain of the page's owner would not end while this one waits, suspended.
pub(in crate::platform) fn suspend() -> Result<u64, Refused> {
    if let Some(address) = foreign::leftover() {
        panic!("{address:#x} still maps a foreign page: this domain cannot be suspended");
    }
    shared_info::set_mapped(false);
    // SAFETY: this is no PV guest.
    let result = unsafe { hypercall::suspend(0) };
    foreign::attach();
    result
}

/// Forgets in a new domain what the former one had.
pub(in crate::platform) fn settle_in() {
    foreign::forget_grant_table();
}
