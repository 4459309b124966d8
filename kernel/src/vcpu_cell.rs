//! Statics of a guest that has one vCPU.

use core::cell::{RefCell, RefMut};

/// A static that only the guest's one thread of execution uses.
///
/// A nested borrow is a bug in the kernel and panics, where a spin lock would
/// hang for ever.
pub(crate) struct VcpuCell<T>(RefCell<T>);

// SAFETY: a guest has one vCPU, keeps upcalls masked, and its trap handler
// never returns to the code it interrupted: no two accesses overlap.
unsafe impl<T> Sync for VcpuCell<T> {}

impl<T> VcpuCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// The value, for as long as the guard lives; never across an await.
    #[track_caller]
    pub(crate) fn borrow(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }

    /// The value, or `None` while it is borrowed (the panic path asks).
    pub(crate) fn try_borrow(&self) -> Option<RefMut<'_, T>> {
        self.0.try_borrow_mut().ok()
    }
}
