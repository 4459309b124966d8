//! What the other cases must have left behind: nothing.

use crate::{Bench, Outcome, ensure};
use kernel::bug;

/// Runs last: no case made the kernel report a bug of its own.
pub(crate) async fn no_bug_was_reported(_: Bench) -> Outcome {
    let bugs = bug::count();
    ensure!(bugs == 0, "{bugs} bugs, {:?}", kernel::trace::entries());
    Ok(())
}
