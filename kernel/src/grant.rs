//! Grants: the right of one domain to map or copy a page of another
//! (`xen/include/public/grant_table.h`, version 1).
//!
//! [`GrantedPage`] is a page of ours that a peer may use, [`Mapping`] pages of
//! a peer that we use.

use crate::lifecycle::{self, Generation, Lifecycle, Outcome};
use crate::pv::hypercall::{Refused, grant_table_op};
use crate::pv::{machine_frame, window};
use crate::shared::{SharedMemory, SharedPage};
use crate::vcpu_cell::VcpuCell;
use crate::{DomId, PAGE_SIZE};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use xen_sys::abi;

/// Entries of the grant table in one frame.
const PER_FRAME: u32 = (PAGE_SIZE / size_of::<abi::grant_entry_v1>()) as u32;

/// Offset of the frame number in an entry.
const FRAME_OFFSET: usize = core::mem::offset_of!(abi::grant_entry_v1, frame);

/// Offset of the domain number in an entry.
const DOMID_OFFSET: usize = core::mem::offset_of!(abi::grant_entry_v1, domid);

/// What the other domain may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Why a grant could not be made or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantError {
    /// The grant table is as large as Xen lets it become.
    TableFull,
    /// The foreign window has no room for that many pages.
    WindowFull,
    /// The page lies beyond what a version 1 entry can name (16 TiB).
    FrameTooHigh,
    /// The grant belonged to the domain that this guest was before it was
    /// restored or migrated.
    Stale,
    /// Xen refused the hypercall.
    Refused(Refused),
    /// Xen refused one operation of the batch (`GNTST_*`).
    Status(i16),
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableFull => f.write_str("the grant table is full"),
            Self::WindowFull => f.write_str("the window for pages of other domains is full"),
            Self::FrameTooHigh => f.write_str("a page above 16 TiB cannot be granted"),
            Self::Stale => f.write_str("the grant ended with a migration"),
            Self::Refused(error) => write!(f, "Xen refused a grant operation: {error}"),
            Self::Status(status) => write!(f, "a grant operation failed with status {status}"),
        }
    }
}

impl core::error::Error for GrantError {}

impl From<Refused> for GrantError {
    fn from(error: Refused) -> Self {
        Self::Refused(error)
    }
}

/// The table, mapped frame by frame as it grows.
struct Table {
    frames: Vec<SharedMemory>,
    free: Vec<u32>,
    /// Pages that peers still mapped when we wanted them back.
    quarantine: Vec<SharedPage>,
}

static TABLE: VcpuCell<Table> = VcpuCell::new(Table {
    frames: Vec::new(),
    free: Vec::new(),
    quarantine: Vec::new(),
});

/// Pages that peers still mapped when we wanted them back: not reused as long
/// as this is the same domain.
#[must_use]
pub fn quarantined_pages() -> usize {
    TABLE.borrow().quarantine.len()
}

/// Grants in use.
#[must_use]
pub fn in_use() -> usize {
    let table = TABLE.borrow();
    let entries = table.frames.len() * PER_FRAME as usize;
    entries.saturating_sub(table.free.len() + abi::GNTTAB_NR_RESERVED_ENTRIES as usize)
}

/// The grant table's part in a suspend.
pub(crate) struct GrantTable;

impl Lifecycle for GrantTable {
    fn name(&self) -> &'static str {
        "grant table"
    }

    /// Takes the table's frames, which are Xen's, out of the address space.
    fn quiesce(&self) {
        for number in 0..TABLE.borrow().frames.len() {
            window::unmap_grant_frame(number);
        }
    }

    /// Maps the same table again, or begins an empty one, version 1, in a new
    /// domain: there no peer maps anything of ours.
    fn resume(&self, outcome: Outcome) {
        let released = {
            let mut table = TABLE.borrow();
            match outcome {
                Outcome::Cancelled => {
                    table.map_again();
                    Vec::new()
                }
                Outcome::NewDomain => {
                    table.frames.clear();
                    table.free.clear();
                    core::mem::take(&mut table.quarantine)
                }
            }
        };
        drop(released);
    }
}

impl Table {
    /// Makes the table `count` frames long, where it is not longer already,
    /// and returns their machine frame numbers (`GNTTABOP_setup_table`).
    fn set_up(count: usize) -> Result<[u64; window::GRANT_TABLE_FRAMES], GrantError> {
        let mut list = [0u64; window::GRANT_TABLE_FRAMES];
        let mut operation = [abi::gnttab_setup_table {
            dom: abi::DOMID_SELF as DomId,
            nr_frames: count as u32,
            status: 0,
            frame_list: abi::__guest_handle_xen_pfn_t {
                p: list.as_mut_ptr(),
            },
        }];
        // SAFETY: the structure of this command; Xen writes `count` frame
        // numbers to `list`, which is longer.
        unsafe { grant_table_op(abi::GNTTABOP_setup_table, &mut operation) }?;
        if i32::from(operation[0].status) != abi::GNTST_okay as i32 {
            return Err(GrantError::TableFull);
        }
        Ok(list)
    }

    /// Maps all frames where they were.
    ///
    /// # Panics
    /// When Xen has forgotten the table of a domain that it did not end.
    fn map_again(&self) {
        if self.frames.is_empty() {
            return;
        }
        let list = Self::set_up(self.frames.len()).expect("the table is as it was");
        for (number, &mfn) in list[..self.frames.len()].iter().enumerate() {
            window::map_grant_frame(number, mfn);
        }
    }

    /// Adds one frame.
    fn grow(&mut self) -> Result<(), GrantError> {
        let count = self.frames.len() + 1;
        if count > window::GRANT_TABLE_FRAMES {
            return Err(GrantError::TableFull);
        }
        let list = Self::set_up(count)?;
        let address = window::map_grant_frame(count - 1, list[count - 1]);
        let base = NonNull::new(address as *mut u8).ok_or(GrantError::TableFull)?;
        // SAFETY: mapped just now, for as long as the domain lives, and used
        // through this value only.
        self.frames
            .push(unsafe { SharedMemory::new(base, PAGE_SIZE) });
        let first = (count as u32 - 1) * PER_FRAME;
        let reserved = abi::GNTTAB_NR_RESERVED_ENTRIES;
        self.free.extend(
            (first..first + PER_FRAME)
                .filter(|&entry| entry >= reserved)
                .rev(),
        );
        Ok(())
    }

    fn entry(&self, reference: u32) -> (&SharedMemory, usize) {
        let frame = &self.frames[(reference / PER_FRAME) as usize];
        (
            frame,
            (reference % PER_FRAME) as usize * size_of::<abi::grant_entry_v1>(),
        )
    }

    /// Fills a free entry; the flags go last, because they make it valid.
    fn grant(&mut self, domid: DomId, frame: u32, access: Access) -> Result<u32, GrantError> {
        if self.free.is_empty() {
            self.grow()?;
        }
        let reference = self.free.pop().ok_or(GrantError::TableFull)?;
        let (memory, offset) = self.entry(reference);
        memory.store_u16(offset + DOMID_OFFSET, domid, Ordering::Relaxed);
        memory.store_u32(offset + FRAME_OFFSET, frame, Ordering::Relaxed);
        let flags = match access {
            Access::ReadOnly => abi::GTF_permit_access | abi::GTF_readonly,
            Access::ReadWrite => abi::GTF_permit_access,
        };
        memory.store_u16(offset, flags as u16, Ordering::Release);
        Ok(reference)
    }

    /// Ends a grant; false where the peer still has the page mapped.
    fn end(&mut self, reference: u32) -> bool {
        let (memory, offset) = self.entry(reference);
        let in_use = (abi::GTF_reading | abi::GTF_writing) as u16;
        let mut flags = memory.load_u16(offset, Ordering::Acquire);
        // Xen and this guest alone write the flags; each failed exchange means
        // that a map or an unmap came between, so the bound is never met.
        for _ in 0..1000 {
            if flags & in_use != 0 {
                return false;
            }
            match memory.compare_exchange_u16(offset, flags, 0) {
                Ok(_) => {
                    self.free.push(reference);
                    return true;
                }
                Err(now) => flags = now,
            }
        }
        false
    }
}

/// A page of ours that one other domain may use.
///
/// Dropping it ends the grant. Where the peer still maps the page it is
/// quarantined: kept out of use until the guest becomes another domain, and
/// counted. A grant that ended with its domain is stale.
#[derive(Debug)]
pub struct GrantedPage {
    /// `None` only while the value is being taken apart.
    page: Option<SharedPage>,
    reference: u32,
    generation: Generation,
}

impl GrantedPage {
    /// Grants `page` to `domid`.
    ///
    /// # Errors
    /// [`GrantError::TableFull`], [`GrantError::FrameTooHigh`].
    pub fn new(domid: DomId, page: SharedPage, access: Access) -> Result<Self, GrantError> {
        let mfn = machine_frame(page.pfn());
        let frame = u32::try_from(mfn).map_err(|_| GrantError::FrameTooHigh)?;
        let reference = TABLE.borrow().grant(domid, frame, access)?;
        Ok(Self {
            page: Some(page),
            reference,
            generation: lifecycle::generation(),
        })
    }

    /// The grant reference, which the peer needs.
    ///
    /// # Errors
    /// [`GrantError::Stale`].
    pub fn reference(&self) -> Result<u32, GrantError> {
        if self.is_stale() {
            return Err(GrantError::Stale);
        }
        Ok(self.reference)
    }

    /// Whether the grant ended with the domain that made it. The page is the
    /// guest's alone then.
    fn is_stale(&self) -> bool {
        self.generation != lifecycle::generation()
    }

    /// Ends the grant; false where the peer still maps the page.
    fn end(&self) -> bool {
        self.is_stale() || TABLE.borrow().end(self.reference)
    }

    /// Ends the grant and returns the page.
    ///
    /// # Errors
    /// Itself, where the peer still maps the page.
    pub fn into_page(mut self) -> Result<SharedPage, Self> {
        if !self.end() {
            return Err(self);
        }
        match self.page.take() {
            Some(page) => Ok(page),
            None => unreachable!("the page is taken only here and in drop"),
        }
    }
}

impl Deref for GrantedPage {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        match &self.page {
            Some(page) => page,
            None => unreachable!("the page is taken only by value"),
        }
    }
}

impl Drop for GrantedPage {
    fn drop(&mut self) {
        let Some(page) = self.page.take() else { return };
        if !self.end() {
            TABLE.borrow().quarantine.push(page);
        }
    }
}

/// Pages of another domain, adjacent in the foreign window; unmapped in one
/// batch when dropped.
#[derive(Debug)]
pub struct Mapping {
    memory: SharedMemory,
    handles: Vec<u32>,
    slots: window::Slots,
}

impl Mapping {
    /// Maps the pages that `domid` granted as `references`, in that order.
    ///
    /// # Errors
    /// [`GrantError`]; where one page cannot be mapped, none stays mapped.
    pub fn new(domid: DomId, references: &[u32], access: Access) -> Result<Self, GrantError> {
        let slots = window::Slots::take(references.len()).ok_or(GrantError::WindowFull)?;
        let read_only = match access {
            Access::ReadOnly => abi::GNTMAP_readonly,
            Access::ReadWrite => 0,
        };
        let address = |index: usize| slots.address() + index * PAGE_SIZE;
        let mut operations: Vec<_> = references
            .iter()
            .enumerate()
            .map(|(index, &reference)| abi::gnttab_map_grant_ref {
                host_addr: address(index) as u64,
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
        let okay = |status: i16| i32::from(status) == abi::GNTST_okay as i32;
        if let Some(failed) = operations.iter().find(|operation| !okay(operation.status)) {
            let mapped: Vec<_> = operations
                .iter()
                .filter(|operation| okay(operation.status))
                .map(|operation| (operation.host_addr, operation.handle))
                .collect();
            unmap(&mapped);
            return Err(GrantError::Status(failed.status));
        }
        let base = NonNull::new(slots.address() as *mut u8).ok_or(GrantError::WindowFull)?;
        // SAFETY: mapped just now, until this value is dropped.
        let memory = unsafe { SharedMemory::new(base, references.len() * PAGE_SIZE) };
        let handles = operations
            .iter()
            .map(|operation| operation.handle)
            .collect();
        Ok(Self {
            memory,
            handles,
            slots,
        })
    }
}

/// Unmaps (address, handle) pairs in one hypercall.
fn unmap(pages: &[(u64, u32)]) {
    let mut operations: Vec<_> = pages
        .iter()
        .map(|&(host_addr, handle)| abi::gnttab_unmap_grant_ref {
            host_addr,
            dev_bus_addr: 0,
            handle,
            status: 0,
        })
        .collect();
    // SAFETY: the structures of this command; nothing uses the mappings any
    // more. Xen refuses only handles that are not ours.
    let _ = unsafe { grant_table_op(abi::GNTTABOP_unmap_grant_ref, &mut operations) };
}

impl Deref for Mapping {
    type Target = SharedMemory;

    fn deref(&self) -> &SharedMemory {
        &self.memory
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let base = self.slots.address();
        let pages: Vec<_> = self
            .handles
            .iter()
            .enumerate()
            .map(|(index, &handle)| ((base + index * PAGE_SIZE) as u64, handle))
            .collect();
        unmap(&pages);
    }
}
