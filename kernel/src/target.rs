//! Follows `xl mem-set`: the toolstack's target for the domain's memory
//! (`memory/target`, docs/misc/xenstore-paths.pandoc).
//!
//! The guest gives back what it does not use beyond the target, and counts on no more. It cannot
//! have more than it booted with, whose frames its tables describe, and it does not give back what
//! it uses, or what a migration needs ([`mem`](crate::mem)).

use crate::backoff::persist;
use crate::mem::frames;
use crate::page::PAGE_SIZE;
use crate::time;
use crate::xenstore::{StoreError, Watch, Xenstore};
use core::convert::Infallible;
use core::fmt;

/// The node that the toolstack writes, in KiB.
const NODE: &str = "memory/target";

const KIB_PER_PAGE: usize = PAGE_SIZE / 1024;

/// What a target means to the guest; all figures are KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is followed.
    Followed { target: usize, total: usize },
    /// The guest has no frames for more than it booted with.
    Larger { target: usize, total: usize },
    /// The guest needs more than that.
    TooSmall { target: usize, needed: usize },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Followed { target, total } => {
                write!(f, "{target} KiB of {total} KiB")
            }
            Self::Larger { target, total } => write!(
                f,
                "{target} KiB: the guest booted with {total} KiB and cannot use more"
            ),
            Self::TooSmall { target, needed } => write!(
                f,
                "{target} KiB refused: the guest needs {needed} KiB, and goes on with what \
                 it has"
            ),
        }
    }
}

/// Follows the target as long as the guest lives.
pub(crate) async fn serve(store: Xenstore) -> Infallible {
    let mut latest = None;
    persist(
        "memory",
        time::sleep,
        async || -> Result<Infallible, StoreError> {
            let mut watch = store.watch(NODE).await?;
            loop {
                let target = next(&store, &mut watch).await?;
                follow(target, &mut latest);
            }
        },
    )
    .await
}

/// Waits until the target may have changed, and returns it in KiB.
async fn next(store: &Xenstore, watch: &mut Watch) -> Result<usize, StoreError> {
    loop {
        watch.next().await?;
        match store.read(NODE).await {
            Ok(text) => match text.trim().parse() {
                Ok(target) => return Ok(target),
                Err(_) => log::warn!("memory: {NODE} is {text:?}, which is no number of KiB"),
            },
            // Not every toolstack sets one.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes a target over, and says so unless it is the `latest` one.
fn follow(target: usize, latest: &mut Option<usize>) {
    // In every new domain again: what Xen lets the domain have may differ.
    let needed = frames::with(|elastic| elastic.set_target(target / KIB_PER_PAGE));
    let (Some(needed), false) = (needed, *latest == Some(target)) else {
        return;
    };
    let is_first = latest.replace(target).is_none();
    let total = frames::usage().total * KIB_PER_PAGE;
    match judge(target, needed * KIB_PER_PAGE, total) {
        // At boot the target is what the domain was built with.
        Verdict::Followed { target, total } if is_first && target == total => {}
        verdict @ Verdict::TooSmall { .. } => log::error!("memory: target {verdict}"),
        verdict => log::info!("memory: target {verdict}"),
    }
}

/// Decides what `target` means to a guest that needs `needed` of its `total` KiB.
fn judge(target: usize, needed: usize, total: usize) -> Verdict {
    if target < needed {
        Verdict::TooSmall { target, needed }
    } else if target > total {
        Verdict::Larger { target, total }
    } else {
        Verdict::Followed { target, total }
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::Poll;

    use super::*;
    use crate::xenstore::fake::Harness;

    #[test]
    fn a_target_is_followed_refused_or_too_large() {
        let judged = |target| judge(target, 6000, 16_384);
        assert!(matches!(
            judged(5999),
            Verdict::TooSmall { needed: 6000, .. }
        ));
        assert!(matches!(judged(6000), Verdict::Followed { .. }));
        assert!(matches!(judged(16_384), Verdict::Followed { .. }));
        assert!(matches!(judged(16_385), Verdict::Larger { .. }));
    }

    #[test]
    fn every_change_of_the_node_is_heard() {
        let mut harness = Harness::new();
        let store = harness.store.clone();
        let mut watch = harness.run(store.watch(NODE)).expect("a watch");
        {
            let mut target = pin!(next(&store, &mut watch));
            assert!(harness.settle(target.as_mut()).is_pending(), "no node");
            harness.server.put(NODE, "much");
            assert!(harness.settle(target.as_mut()).is_pending(), "no number");
            harness.server.put(NODE, "8192");
            assert_eq!(harness.settle(target.as_mut()), Poll::Ready(Ok(8192)));
        }
        harness.migrate();
        harness.server.put(NODE, "4096");
        assert_eq!(harness.run(next(&store, &mut watch)), Ok(4096));
    }
}
