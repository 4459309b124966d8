//! Suspend, resume and live migration: what becomes of the guest's parts when
//! it stops on one host and goes on, perhaps, on another.
//!
//! This file has the contract that every part keeps ([`Lifecycle`]); `timing`
//! writes down when each [`Phase`] was reached. [`suspend`](crate::suspend),
//! which hears the toolstack's request and carries it out, calls both.
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

/// What must quiesce before the guest stops and come back afterwards.
///
/// The contract, for a part and for who calls it:
///
/// - Parts are asked to settle and to quiesce in the opposite order of their
///   registration, and resumed in that order: a part may rely on all that was
///   registered before it.
/// - A notice may come or not; it may be withdrawn, repeated, or followed by a
///   suspend. Between notice and resume the p2m does not change.
/// - [`settle`](Self::settle) is followed by [`quiesce`](Self::quiesce) or,
///   where some part does not settle in time, by
///   [`resume`](Self::resume)`(Cancelled)` without a quiesce.
/// - From [`quiesce`](Self::quiesce) to [`resume`](Self::resume) no task runs.
///   Neither may wait: what they do counts as downtime.
/// - After `resume(Cancelled)` everything is as it was: nothing is registered
///   again. After `resume(NewDomain)` all event channels, grants, watches and
///   transactions are gone; the part renews what it needs, or wakes the task
///   that does.
pub trait Lifecycle {
    /// What the part is called in messages.
    fn name(&self) -> &'static str;

    /// The toolstack has begun to save or migrate the guest; it runs on
    /// meanwhile, for seconds or minutes.
    fn early_notice(&self) {}

    /// The toolstack has given that up.
    fn notice_withdrawn(&self) {}

    /// A suspend was asked for: begin nothing new that another domain must
    /// answer, and finish what is under way.
    fn settle(&self) {}

    /// The domain is about to end for good: tell those who would wait for it.
    fn end(&self) {}

    /// Whether what [`settle`](Self::settle) or [`end`](Self::end) began has come to its end.
    fn is_settled(&self) -> bool {
        true
    }

    /// The last moment: leave nothing mapped, and everything in a state that
    /// can be read back.
    fn quiesce(&self) {}

    /// The guest goes on.
    fn resume(&self, outcome: Outcome);

    /// After `resume(NewDomain)`, as soon as xenstore has told it: the new
    /// domain's own number is known ([`domid`]).
    fn identified(&self) {}
}

static PARTS: VcpuCell<Vec<Rc<dyn Lifecycle>>> = VcpuCell::new(Vec::new());

/// Registers a part for as long as the guest lives.
pub fn register(part: Rc<dyn Lifecycle>) {
    PARTS.borrow().push(part);
}

/// All parts in the order of registration; a copy, so that a part may register another.
pub(crate) fn parts() -> Vec<Rc<dyn Lifecycle>> {
    PARTS.borrow().clone()
}
