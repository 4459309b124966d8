//! Suspend, resume and live migration: what becomes of the guest's parts when
//! it stops on one host and goes on, perhaps, on another.
//!
//! In the order in which to read it: this file has the contract that every
//! part keeps ([`Lifecycle`]); `phase` names what happens; `control` hears the
//! toolstack's request and carries it out; `notice` finds out that pre-copy
//! has begun; `timing` writes down how long everything took.
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

mod control;
mod notice;
mod phase;
mod timing;

pub use control::domid;
pub(crate) use control::{end, serve, suspend};
pub(crate) use notice::{is_forewarned, look, may_change_p2m};
pub use phase::{Asked, Outcome, Phase};
pub use timing::{Counts, counts, reached};

use crate::vcpu_cell::VcpuCell;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// How often this guest has become another domain. Whatever belongs to one
/// domain (event channels, grants, xenstore paths and transactions) remembers
/// in which generation it was made, and fails as stale in a later one.
pub type Generation = u32;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The present generation.
#[must_use]
pub fn generation() -> Generation {
    GENERATION.load(Ordering::Relaxed)
}

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
fn parts() -> Vec<Rc<dyn Lifecycle>> {
    PARTS.borrow().clone()
}
