//! The kernel's health after all other cases.

use crate::{Bench, Outcome, ensure};
use kernel::bug;

/// Checks, after all other cases, that the kernel has reported no bug.
pub(crate) async fn no_bug_was_reported(_: Bench) -> Outcome {
    let bugs = bug::count();
    ensure!(bugs == 0, "{bugs} bugs, {:?}", kernel::trace::entries());
    Ok(())
}
