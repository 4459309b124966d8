//! Wakers on their way out of a borrow.

use alloc::vec::Vec;
use core::task::Waker;

/// Wakers to be woken or dropped when nobody borrows the session any more:
/// either can run a task's code, which may use the session itself.
#[derive(Default)]
pub(super) struct Wakers {
    wake: Vec<Waker>,
    discard: Vec<Waker>,
}

impl Wakers {
    /// To be woken.
    pub(super) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.wake.extend(wakers);
    }

    /// To be dropped.
    pub(super) fn discard(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.discard.extend(wakers);
    }

    /// Puts `waker` into `slot`, unless one of the same task is there.
    pub(super) fn keep(&mut self, slot: &mut Option<Waker>, waker: &Waker) {
        if !slot.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.discard.extend(slot.replace(waker.clone()));
        }
    }

    /// Wakes and drops all of them.
    pub(super) fn run(self) {
        drop(self.discard);
        for waker in self.wake {
            waker.wake();
        }
    }
}
