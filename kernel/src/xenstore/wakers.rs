//! Wakers collected during a borrow, to be run after it.

use alloc::vec::Vec;
use core::task::Waker;

/// Wakers to wake or drop once the session is no longer borrowed: either can
/// run a task's code, which may use the session itself.
#[derive(Default)]
pub(super) struct Wakers {
    wake: Vec<Waker>,
    discard: Vec<Waker>,
}

impl Wakers {
    /// Adds wakers to wake.
    pub(super) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.wake.extend(wakers);
    }

    /// Adds wakers to drop.
    pub(super) fn discard(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.discard.extend(wakers);
    }

    /// Puts `waker` into `slot`, unless the slot has a waker of the same task.
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
