//! Statics for a guest with one vCPU.

use core::cell::{RefCell, RefMut};

/// A static used only by the guest's single thread of execution.
///
/// A nested borrow is a bug in the kernel and panics; a spin lock would hang
/// for ever.
pub(crate) struct VcpuCell<T>(RefCell<T>);

// SAFETY: a guest has one vCPU, keeps upcalls masked, and its trap handler
// never returns to the code it interrupted (the one for non-maskable interrupts
// does, and touches no cell): no two accesses overlap.
unsafe impl<T> Sync for VcpuCell<T> {}

impl<T> VcpuCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Borrows the value while the guard lives, which must not be across an
    /// await.
    #[track_caller]
    pub(crate) fn borrow(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }

    /// Borrows the value, or returns `None` while it is already borrowed, for
    /// the panic path.
    pub(crate) fn try_borrow(&self) -> Option<RefMut<'_, T>> {
        self.0.try_borrow_mut().ok()
    }
}
