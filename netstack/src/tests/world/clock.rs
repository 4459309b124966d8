//! The virtual clock.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smoltcp::time::Instant;

use sim::xen::{Dom, Port};

use crate::channel::platform::WakeSources;

/// A virtual clock that tests can sleep on. It counts microseconds.
#[derive(Clone)]
pub(in crate::tests) struct Clock(Rc<RefCell<Timers>>);

struct Timers {
    now: Instant,
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

/// Completes at its deadline; dropping it gives the timer up.
pub(in crate::tests) struct Sleep {
    clock: Clock,
    deadline: Instant,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.clock.0.borrow_mut();
        if timers.now >= self.deadline {
            return Poll::Ready(());
        }
        let key = (self.deadline, self.number);
        timers.sleepers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let key = (self.deadline, self.number);
        self.clock.0.borrow_mut().sleepers.remove(&key);
    }
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Timers {
            now: Instant::ZERO,
            sleepers: BTreeMap::new(),
            next: 0,
        })))
    }

    pub(in crate::tests) fn now(&self) -> Instant {
        self.0.borrow().now
    }

    pub(in crate::tests) fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time.into())
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let mut timers = self.0.borrow_mut();
        timers.next += 1;
        Sleep {
            clock: self.clone(),
            deadline,
            number: timers.next,
        }
    }

    /// Returns the time of the next timer.
    pub(super) fn next(&self) -> Option<Instant> {
        let timers = self.0.borrow();
        timers.sleepers.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn set(&self, now: Instant) {
        let mut timers = self.0.borrow_mut();
        timers.now = now;
        while let Some(first) = timers.sleepers.first_entry()
            && first.key().0 <= now
        {
            first.remove().wake();
        }
    }
}

impl WakeSources<Dom> for Clock {
    type Sleep = Sleep;

    /// The world polls a host's task whenever one of its ports is pending: no waker is kept.
    fn poll_event(&self, port: &Port, _: &mut Context<'_>) -> Poll<()> {
        if port.take_pending() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn sleep_until(&self, deadline: vmc::Instant) -> Sleep {
        let micros = i64::try_from(deadline.0.div_ceil(1000)).unwrap();
        Self::sleep_until(self, Instant::from_micros(micros))
    }
}
