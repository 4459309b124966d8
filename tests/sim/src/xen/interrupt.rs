//! Another processor, which does something in the middle of what a guest does to
//! memory that it shares.

use std::cell::RefCell;

/// What the other processor does.
type Act = Box<dyn FnOnce()>;

thread_local! {
    /// How many accesses are left before it acts.
    static OTHER: RefCell<Option<(u32, Act)>> = const { RefCell::new(None) };
}

/// Does `work`; after this many accesses to shared memory the other processor
/// does `act`, or afterwards, if there are not so many.
pub fn interrupted<R>(accesses: u32, act: impl FnOnce() + 'static, work: impl FnOnce() -> R) -> R {
    OTHER.set(Some((accesses, Box::new(act))));
    let result = work();
    if let Some((_, act)) = OTHER.take() {
        act();
    }
    result
}

/// Shared memory has been accessed.
pub(super) fn accessed() {
    let act = OTHER.with_borrow_mut(|other| match other {
        Some((left @ 1.., _)) => {
            *left -= 1;
            None
        }
        _ => other.take(),
    });
    if let Some((_, act)) = act {
        act();
    }
}
