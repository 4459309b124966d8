//! What another processor does in the middle of a call.
//!
//! Domains of one host run at the same time. What one of them does to memory or asks of the
//! hypervisor can therefore fall between any two accesses of another. [`during`] plays one such
//! order exactly.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Something that happens elsewhere, and before which access of the call: 0 is the first.
pub type Elsewhere = (u64, Box<dyn FnOnce()>);

thread_local! {
    /// Accesses of the call so far; `None` if there is no call.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
    static ELSEWHERE: RefCell<VecDeque<Elsewhere>> = const { RefCell::new(VecDeque::new()) };
}

/// Runs `call`, in the middle of which each of `elsewhere` happens, in order. Returns the result,
/// and how many of them the call did not come to.
///
/// # Panics
/// If `elsewhere` calls it in turn.
pub fn during<R>(
    elsewhere: impl IntoIterator<Item = Elsewhere>,
    call: impl FnOnce() -> R,
) -> (R, usize) {
    let before = COUNT.replace(Some(0));
    assert_eq!(before, None, "one call at a time");
    ELSEWHERE.set(elsewhere.into_iter().collect());
    let result = call();
    COUNT.set(None);
    (result, ELSEWHERE.take().len())
}

/// An access to shared memory, or a hypercall, is about to happen.
pub(super) fn pass() {
    let Some(count) = COUNT.get() else {
        return;
    };
    let is_due = |(at, _): &mut Elsewhere| *at <= count;
    // What happens elsewhere is not counted.
    COUNT.set(None);
    while let Some((_, act)) = ELSEWHERE.with_borrow_mut(|queue| queue.pop_front_if(is_due)) {
        act();
    }
    COUNT.set(Some(count + 1));
}
