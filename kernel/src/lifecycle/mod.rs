//! Suspend, resume and live migration: what happens to the guest's parts when it stops on one host
//! and continues, perhaps on another.
//!
//! This file has the contract that every part keeps ([`Lifecycle`]); `timing` records when each
//! [`Phase`] was reached. [`suspend`](crate::suspend), which receives the toolstack's request and
//! carries it out, calls both.
//!
//! The order of events is that of `tools/libs/light/libxl_dom_suspend.c` and
//! `tools/libs/guest/xg_sr_save.c`:
//!
//! ```text
//!   early notice ---- pre-copy, traffic goes on -----+--> notice withdrawn
//!                                                    |
//!   request -> settle -> quiesce -> SCHEDOP_shutdown -+
//!                                                    |
//!                     resume(Cancelled)  <-- 1 ------+------ 0 -->  resume(NewDomain)
//! ```

pub(crate) mod timing;

pub use crate::domain::{Generation, domid, generation};
pub use crate::phase::{Asked, Outcome, Phase};
pub use timing::{Counts, counts, reached};

use crate::vcpu_cell::VcpuCell;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// A part of the guest that must quiesce before the guest stops, and come back afterwards.
///
/// The contract, for parts and for their caller:
///
/// - Parts settle and quiesce in reverse order of registration and resume in order of registration,
///   so a part may rely on all parts registered before it.
/// - An early notice may or may not come; it may be withdrawn, repeated, or followed by a suspend.
///   Between notice and resume the p2m does not change.
/// - [`settle`](Self::settle) is followed by [`quiesce`](Self::quiesce) or, if some part does not
///   settle in time, by [`resume`](Self::resume)`(Cancelled)` without a quiesce.
/// - From [`quiesce`](Self::quiesce) to [`resume`](Self::resume) no task runs. Neither may wait:
///   the time they take is downtime.
/// - After `resume(Cancelled)` everything is as before; nothing needs to be registered again. After
///   `resume(NewDomain)` all event channels, grants, watches and transactions are gone; the part
///   renews what it needs, or wakes the task that does.
pub trait Lifecycle {
    /// Returns the part's name, for messages.
    fn name(&self) -> &'static str;

    /// Called when the toolstack has begun to save or migrate the guest, which keeps running
    /// meanwhile, for seconds or minutes.
    fn early_notice(&self) {}

    /// Called when the toolstack has abandoned that.
    fn notice_withdrawn(&self) {}

    /// Called when a suspend was requested: the part starts nothing new that another domain has to
    /// answer, and finishes what is in progress.
    fn settle(&self) {}

    /// Called when the domain is about to end for good: the part tells peers that would wait for
    /// it.
    fn end(&self) {}

    /// Returns whether what [`settle`](Self::settle) or [`end`](Self::end) started has finished.
    fn is_settled(&self) -> bool {
        true
    }

    /// Called last before the suspend: the part leaves nothing foreign mapped, and its state such
    /// that it can be resumed in another domain.
    fn quiesce(&self) {}

    /// Called when the guest continues.
    fn resume(&self, outcome: Outcome);

    /// Called at boot and after `resume(NewDomain)`, as soon as the domain's own number ([`domid`])
    /// has been read from xenstore.
    fn identified(&self) {}
}

static PARTS: VcpuCell<Vec<Rc<dyn Lifecycle>>> = VcpuCell::new(Vec::new());

/// Registers a part for as long as the guest lives.
pub fn register(part: Rc<dyn Lifecycle>) {
    PARTS.borrow().push(part);
}

/// Returns all parts in order of registration. It is a copy, so a part may register another while
/// it is called.
pub(crate) fn parts() -> Vec<Rc<dyn Lifecycle>> {
    PARTS.borrow().clone()
}
