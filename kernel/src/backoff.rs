//! Trying again what may come back: a store, a backend, a lease (design rule R21).

use core::fmt::Display;
use core::future::Future;
use core::time::Duration;

/// The pauses between attempts: each is twice as long as the one before, up to a longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    attempts: u32,
}

impl Backoff {
    /// Begins with a pause of `first`; no pause is longer than `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
            attempts: 0,
        }
    }

    /// Counts a failed attempt and returns the pause before the next one.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        pause
    }

    /// Returns how many attempts have failed since the last success.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.attempts
    }

    /// Begins anew, after a success or when the circumstances have changed.
    pub const fn reset(&mut self) {
        self.next = self.first;
        self.attempts = 0;
    }
}

/// Pauses of the guest's own services when xenstore fails them. A request has failed after five
/// seconds at the latest, so this is what the guest adds.
const STORE: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));

/// Runs `work` until it succeeds, with a growing pause after each failure, which is logged as that
/// of `what`. `sleep` waits.
pub(crate) async fn persist<T, E: Display, S: Future>(
    what: &str,
    sleep: impl Fn(Duration) -> S,
    mut work: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let mut backoff = STORE;
    loop {
        match work().await {
            Ok(result) => {
                if backoff.failed() > 0 {
                    log::info!("{what}: works after {} failures", backoff.failed());
                }
                return result;
            }
            Err(error) => {
                let pause = backoff.pause();
                log::warn!("{what}: {error}; the next try follows in {pause:?}");
                sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::cell::RefCell;
    use core::future::{Future, ready};
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        assert_eq!(backoff.failed(), 5);
        backoff.reset();
        assert_eq!((backoff.pause(), backoff.failed()), (seconds(1), 1));
    }

    #[test]
    fn work_is_tried_until_it_succeeds() {
        let pauses = RefCell::new(Vec::new());
        let sleep = |pause| {
            pauses.borrow_mut().push(pause);
            ready(())
        };
        let mut left = 40;
        let work = async || {
            left -= 1;
            if left == 0 {
                Ok("done")
            } else {
                Err("not yet")
            }
        };
        let mut persistent = pin!(persist("test", sleep, work));
        let polled = persistent
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready("done"));
        let pauses = pauses.borrow();
        assert_eq!(pauses.len(), 39);
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&Duration::from_secs(15)));
    }
}
