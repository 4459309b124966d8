//! Ending in order: sessions finish the mail they are in, and take no other.

use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};
use core::time::Duration;
use kernel::time;

/// Longest time that sessions get to finish, well within the minute after
/// which the toolstack loses patience.
const LIMIT: Duration = Duration::from_secs(20);

/// How often the end of the last session is looked for.
const INTERVAL: Duration = Duration::from_millis(20);

/// Counts the sessions and tells them when to end.
#[derive(Default)]
pub(crate) struct Drain {
    begun: Cell<bool>,
    /// A session's waker, by its number; `None` while it does not wait.
    sessions: RefCell<BTreeMap<u32, Option<Waker>>>,
}

/// A session's membership, which ends when it is dropped.
pub(crate) struct Member<'a> {
    drain: &'a Drain,
    number: u32,
}

impl Drain {
    /// Sessions that run.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Enters session `number`.
    pub(crate) fn enter(&self, number: u32) -> Member<'_> {
        self.sessions.borrow_mut().insert(number, None);
        Member {
            drain: self,
            number,
        }
    }

    /// Tells the sessions to end and waits for them; false where some did not
    /// within the limit.
    pub(crate) async fn finish(&self) -> bool {
        self.begun.set(true);
        let wakers = self
            .sessions
            .borrow_mut()
            .values_mut()
            .filter_map(Option::take)
            .collect::<alloc::vec::Vec<_>>();
        wakers.into_iter().for_each(Waker::wake);
        let deadline = time::now() + LIMIT;
        while self.sessions() > 0 && time::now() < deadline {
            time::sleep(INTERVAL).await;
        }
        self.sessions() == 0
    }
}

impl Member<'_> {
    /// Waits until the sessions are told to end.
    pub(crate) async fn told(&self) {
        poll_fn(|context| {
            if self.drain.begun.get() {
                return Poll::Ready(());
            }
            let waker = Some(context.waker().clone());
            self.drain.sessions.borrow_mut().insert(self.number, waker);
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        let waker = self.drain.sessions.borrow_mut().remove(&self.number);
        drop(waker);
    }
}
