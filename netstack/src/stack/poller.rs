//! Waking the task that polls the stack.

use core::task::{Context, Poll, Waker};

/// The task that polls the stack, and whether there is something for it to do.
#[derive(Default)]
pub(crate) struct Poller {
    is_kicked: bool,
    waker: Option<Waker>,
}

impl Poller {
    /// Wakes the task, because there is something to send or to settle.
    pub(crate) fn kick(&mut self) {
        self.is_kicked = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Notes that a poll begins: it settles everything that it was kicked for.
    pub(super) fn begin(&mut self) {
        self.is_kicked = false;
    }

    /// Completes if [`Self::kick`] was called since the last poll, or since the last completion.
    pub(super) fn poll_kicked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if core::mem::take(&mut self.is_kicked) {
            Poll::Ready(())
        } else {
            self.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    /// Whether [`Self::kick`] was called since the last poll.
    #[cfg(test)]
    pub(crate) fn is_kicked(&self) -> bool {
        self.is_kicked
    }
}
