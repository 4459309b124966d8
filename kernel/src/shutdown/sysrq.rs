//! `xl sysrq`: a letter in `control/sysrq`, which Linux takes for a key pressed
//! (docs/misc/xenstore-paths.pandoc). This guest has nothing to do for any letter; it says so and
//! empties the node, so that the toolstack sees that it was read.

use alloc::string::String;
use core::convert::Infallible;

use crate::backoff::persist;
use crate::time;
use crate::xenstore::{StoreError, Watch, Xenstore};

/// The node that the toolstack writes, and that the guest empties in reply.
const NODE: &str = "control/sysrq";

/// Most characters of a request that are repeated in the log.
const SHOWN: usize = 8;

/// Serves the requests as long as the guest lives.
pub(crate) async fn serve(store: Xenstore) -> Infallible {
    persist(
        "sysrq",
        time::sleep,
        async || -> Result<Infallible, StoreError> {
            let mut watch = store.watch(NODE).await?;
            loop {
                let request = next(&store, &mut watch).await?;
                log::warn!("sysrq: {request:?} does nothing in this guest");
            }
        },
    )
    .await
}

/// Waits for the next request and empties its node.
async fn next(store: &Xenstore, watch: &mut Watch) -> Result<String, StoreError> {
    loop {
        watch.next().await?;
        let text = match store.read(NODE).await {
            // Not written yet: a watch fires once when it is set.
            Err(StoreError::NotFound) => continue,
            other => other?,
        };
        let text = text.trim_matches('\0');
        if text.is_empty() {
            continue;
        }
        let shown = text.chars().take(SHOWN).collect();
        // Not every toolstack makes the node writable.
        if let Err(error) = store.write(NODE, "").await {
            log::debug!("{NODE} not emptied: {error}");
        }
        return Ok(shown);
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::Poll;

    use super::*;
    use crate::xenstore::fake::Harness;

    #[test]
    fn a_request_is_read_once_and_acknowledged() {
        let mut harness = Harness::new();
        let store = harness.store.clone();
        let mut watch = harness.run(store.watch(NODE)).expect("a watch");
        for letter in ["h", "\0", "s", "a long line"] {
            let mut request = pin!(next(&store, &mut watch));
            assert!(harness.settle(request.as_mut()).is_pending());
            harness.server.put(NODE, letter);
            let expected: String = letter.chars().take(SHOWN).collect();
            let polled = harness.settle(request.as_mut());
            if letter == "\0" {
                assert!(polled.is_pending(), "an empty request");
                continue;
            }
            assert_eq!(polled, Poll::Ready(Ok(expected)));
            assert_eq!(harness.server.get(NODE), Some(""));
        }
    }

    #[test]
    fn a_node_that_cannot_be_emptied_is_no_error() {
        let mut harness = Harness::new();
        let store = harness.store.clone();
        let mut watch = harness.run(store.watch(NODE)).expect("a watch");
        harness.server.put_owned_by(0, NODE, "b");
        let request = harness.run(next(&store, &mut watch));
        assert_eq!(request, Ok("b".into()));
    }
}
