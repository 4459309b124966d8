//! The task that serves the channel: events of the peers, timers, and the notifications that were
//! put off until there is nothing else to do.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use kernel::time::{self, Sleep};

use crate::stack::{Shared, Stack};

/// Serves the channel for ever.
pub(crate) async fn drive(shared: Shared) {
    let mut timer = Timer::default();
    poll_fn(|cx| {
        let deadline = shared.with(|stack| stack.run_channel(cx));
        if timer.poll_until(deadline, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    })
    .await;
}

impl Stack {
    /// One turn of the channel; says when the next timer is due. What comes before that wakes the
    /// task.
    fn run_channel(&mut self, cx: &mut Context<'_>) -> Option<time::Instant> {
        let turn = self.turn_channel(|port| port.poll_event(cx).is_ready());
        match &mut self.channel {
            Some(channel) if !turn.again => channel.driver = Some(cx.waker().clone()),
            _ => cx.waker().wake_by_ref(),
        }
        let deadline = turn.deadline?;
        Some(time::Instant::from_nanos(deadline.0))
    }
}

/// A timer that is set anew only when its time changes. One task has it.
#[derive(Default)]
struct Timer {
    set: Option<(time::Instant, Sleep)>,
}

impl Timer {
    fn poll_until(&mut self, deadline: Option<time::Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.set = None;
            return Poll::Pending;
        };
        if let Some((at, _)) = self.set
            && at == deadline
            && time::turn() < at
        {
            return Poll::Pending;
        }
        let mut sleep = time::sleep_until(deadline);
        let result = Pin::new(&mut sleep).poll(cx);
        self.set = result.is_pending().then_some((deadline, sleep));
        result
    }
}
