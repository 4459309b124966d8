//! Pages of a peer that we use.
//!
//! During a suspend, mappings dropped between the first part's quiesce and the
//! grant table's are gathered and unmapped in one hypercall.

use super::error::{Access, GrantError};
use crate::bug;
use crate::domain::DomId;
use crate::hypercall::grant_table_op;
use crate::page::PAGE_SIZE;
use crate::platform::window;
use crate::shared::SharedMemory;
use crate::vcpu_cell::VcpuCell;
use alloc::vec::Vec;
use core::ops::Deref;
use core::ptr::NonNull;
use xen_sys::abi;

/// The mappings dropped since the suspend began, with their slots in the
/// window; `None` outside a suspend.
static DROPPED: VcpuCell<Option<Dropped>> = VcpuCell::new(None);

#[derive(Default)]
struct Dropped {
    /// (what names its slot to Xen, handle) of each page.
    pages: Vec<(u64, u32)>,
    slots: Vec<window::Slots>,
}

/// Starts gathering dropped mappings.
pub(crate) fn gather() {
    *DROPPED.borrow() = Some(Dropped::default());
}

/// Unmaps the gathered mappings; from now on each one is unmapped when dropped
/// again.
pub(super) fn unmap_gathered() {
    let dropped = DROPPED.borrow().take();
    if let Some(dropped) = dropped.filter(|dropped| !dropped.pages.is_empty()) {
        unmap(&dropped.pages);
        drop(dropped.slots);
    }
}

/// Pages of another domain, adjacent in the foreign window; unmapped in one
/// batch when dropped.
#[derive(Debug)]
pub struct Mapping {
    memory: SharedMemory,
    handles: Vec<u32>,
    /// Taken only in `drop`.
    slots: Option<window::Slots>,
}

impl Mapping {
    /// Maps the pages that domain `domid` granted as `references`, in that
    /// order.
    ///
    /// # Errors
    /// [`GrantError`], among them [`GrantError::Own`] in a PVH guest; if one page cannot be mapped, none stays mapped.
    pub fn new(domid: DomId, references: &[u32], access: Access) -> Result<Self, GrantError> {
        if !window::may_map(domid) {
            return Err(GrantError::Own);
        }
        let slots = window::Slots::take(references.len()).ok_or(GrantError::WindowFull)?;
        let read_only = match access {
            Access::ReadOnly => abi::GNTMAP_readonly,
            Access::ReadWrite => 0,
        };
        let mut operations: Vec<_> = references
            .iter()
            .enumerate()
            .map(|(index, &reference)| abi::gnttab_map_grant_ref {
                host_addr: slots.host_address(index),
                flags: abi::GNTMAP_host_map | read_only,
                ref_: reference,
                dom: domid,
                status: abi::GNTST_general_error as i16,
                handle: 0,
                dev_bus_addr: 0,
            })
            .collect();
        // SAFETY: the structures of this command; the addresses are free slots
        // of the foreign window.
        unsafe { grant_table_op(abi::GNTTABOP_map_grant_ref, &mut operations) }?;
        if let Some(failed) = operations
            .iter()
            .find(|operation| !is_okay(operation.status))
        {
            let mapped: Vec<_> = operations
                .iter()
                .filter(|operation| is_okay(operation.status))
                .map(|operation| (operation.host_addr, operation.handle))
                .collect();
            unmap(&mapped);
            return Err(GrantError::Status(failed.status));
        }
        slots.show(access);
        let base = NonNull::new(slots.address() as *mut u8).expect("the window is not at 0");
        // SAFETY: just mapped, until this value is dropped.
        let memory = unsafe { SharedMemory::new(base, references.len() * PAGE_SIZE) };
        let handles = operations
            .iter()
            .map(|operation| operation.handle)
            .collect();
        Ok(Self {
            memory,
            handles,
            slots: Some(slots),
        })
    }
}

/// Returns whether an operation of a batch succeeded.
fn is_okay(status: i16) -> bool {
    i32::from(status) == abi::GNTST_okay as i32
}

/// Unmaps pages, each by what names its slot to Xen and its handle, in one hypercall.
fn unmap(pages: &[(u64, u32)]) {
    let mut operations: Vec<_> = pages
        .iter()
        .map(|&(host_addr, handle)| abi::gnttab_unmap_grant_ref {
            host_addr,
            dev_bus_addr: 0,
            handle,
            status: abi::GNTST_general_error as i16,
        })
        .collect();
    // SAFETY: the structures of this command; nothing uses the mappings any
    // more.
    let unmapped = unsafe { grant_table_op(abi::GNTTABOP_unmap_grant_ref, &mut operations) };
    if unmapped.is_err()
        || operations
            .iter()
            .any(|operation| !is_okay(operation.status))
    {
        // Xen refuses only pages not mapped by this handle at this address.
        bug::report("a foreign page was unmapped twice");
    }
}

impl Deref for Mapping {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(slots) = self.slots.take() else {
            return;
        };
        slots.hide();
        let handles = self.handles.iter().enumerate();
        let pages = handles.map(|(index, &handle)| (slots.host_address(index), handle));
        if let Some(dropped) = DROPPED.borrow().as_mut() {
            dropped.pages.extend(pages);
            dropped.slots.push(slots);
            return;
        }
        unmap(&pages.collect::<Vec<_>>());
    }
}
