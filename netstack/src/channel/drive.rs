//! The task that serves the channel: events of the peers, timers, and the notifications that were
//! put off until there is nothing else to do.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use vmc::{Instant, Platform};

use super::Turn;
use super::platform::WakeSources;
use crate::stack::Shared;

/// Serves the channel of `shared`, woken by `sources`; never completes.
pub(super) async fn drive<P: Platform, S: WakeSources<P>>(shared: Shared<P>, sources: S) {
    let mut timer = Timer { set: None };
    poll_fn(|cx| {
        let Some((turn, now)) = turn(&shared, &sources, cx) else {
            return Poll::Pending;
        };
        if turn.again || timer.poll(&sources, turn.deadline, now, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    })
    .await;
}

/// Takes one turn of the channel. Returns what it left to do, and the time; `None` if there is no
/// channel.
fn turn<P: Platform, S: WakeSources<P>>(
    shared: &Shared<P>,
    sources: &S,
    cx: &mut Context<'_>,
) -> Option<(Turn, Instant)> {
    shared.with(|stack| {
        let turn = stack.turn_channel(|port| sources.poll_event(port, cx).is_ready());
        let channel = stack.channel.as_mut()?;
        if !turn.again {
            channel.driver = Some(cx.waker().clone());
        }
        Some((turn, channel.vmc.platform().now()))
    })
}

/// A timer that is set anew only if its time changes.
struct Timer<S> {
    set: Option<(Instant, S)>,
}

impl<S: Future<Output = ()> + Unpin> Timer<S> {
    /// Completes once `deadline` has passed; at `None` it is given up.
    fn poll<P: Platform>(
        &mut self,
        sources: &impl WakeSources<P, Sleep = S>,
        deadline: Option<Instant>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.set = None;
            return Poll::Pending;
        };
        if let Some((at, _)) = self.set
            && at == deadline
            && now < at
        {
            return Poll::Pending;
        }
        let mut sleep = sources.sleep_until(deadline);
        let result = Pin::new(&mut sleep).poll(cx);
        self.set = result.is_pending().then_some((deadline, sleep));
        result
    }
}
