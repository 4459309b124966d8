//! The grant table: its entries, how it grows, and what a suspend does to it.

use super::error::{Access, GrantError};
use super::mapping;
use crate::domain::DomId;
use crate::lifecycle::{Lifecycle, Outcome};
use crate::mem::run::Run;
use crate::page::{PAGE_SIZE, Pfn};
use crate::platform::{machine_frame, window};
use crate::shared::{SharedMemory, SharedPage};
use crate::vcpu_cell::VcpuCell;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use xen_sys::abi;

/// Entries of the grant table in one frame.
const PER_FRAME: u32 = (PAGE_SIZE / size_of::<abi::grant_entry_v1>()) as u32;

/// Offset of the frame number in an entry.
const FRAME_OFFSET: usize = core::mem::offset_of!(abi::grant_entry_v1, frame);

/// Offset of the domain number in an entry.
const DOMID_OFFSET: usize = core::mem::offset_of!(abi::grant_entry_v1, domid);

/// The table, mapped frame by frame as it grows.
pub(super) struct Table {
    frames: Vec<SharedMemory>,
    free: Vec<u32>,
    /// Pages kept out of use while this is the same domain.
    pub(super) quarantine: Quarantine,
}

/// Pages that peers still mapped when we wanted them back.
pub(super) struct Quarantine {
    pub(super) pages: Vec<SharedPage>,
    pub(super) regions: Vec<Run>,
}

impl Quarantine {
    const fn new() -> Self {
        Self {
            pages: Vec::new(),
            regions: Vec::new(),
        }
    }
}

pub(super) static TABLE: VcpuCell<Table> = VcpuCell::new(Table {
    frames: Vec::new(),
    free: Vec::new(),
    quarantine: Quarantine::new(),
});

/// Returns the number of quarantined pages: peers still mapped them when we wanted them back, so
/// they are not reused while this is the same domain.
#[must_use]
pub fn quarantined_pages() -> usize {
    let table = TABLE.borrow();
    let regions = table.quarantine.regions.iter().map(Run::len);
    table.quarantine.pages.len() + regions.sum::<usize>()
}

/// Returns the number of grants in use.
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

    /// Unmaps pages of peers, and the table's frames, which belong to Xen.
    fn quiesce(&self) {
        mapping::unmap_gathered();
        window::detach_grant_frames(0..TABLE.borrow().frames.len());
    }

    /// Maps the same table again, or, in a new domain, begins an empty one of version 1: no peer
    /// maps anything of ours there.
    fn resume(&self, outcome: Outcome) {
        let released = {
            let mut table = TABLE.borrow();
            match outcome {
                Outcome::Cancelled => {
                    table.map_again();
                    Quarantine::new()
                }
                Outcome::NewDomain => {
                    table.frames.clear();
                    table.free.clear();
                    core::mem::replace(&mut table.quarantine, Quarantine::new())
                }
            }
        };
        drop(released);
    }
}

impl Table {
    /// Maps all frames at their former addresses.
    ///
    /// # Panics
    /// If Xen has lost the table of a domain that did not end.
    fn map_again(&self) {
        if !self.frames.is_empty() {
            window::reattach_grant_frames(0..self.frames.len());
        }
    }

    /// Adds one frame.
    fn grow(&mut self) -> Result<(), GrantError> {
        let count = self.frames.len() + 1;
        if count > window::GRANT_TABLE_FRAMES {
            return Err(GrantError::TableFull);
        }
        window::map_grant_frames(count - 1..count)?;
        let address = window::grant_frame_address(count - 1);
        let base = NonNull::new(address as *mut u8).expect("the window is not at 0");
        // SAFETY: just mapped, for as long as the domain lives, and used only through this value.
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

    /// Grants a frame: fills a free entry. The flags are written last, because they make it valid.
    pub(super) fn grant(
        &mut self,
        domid: DomId,
        pfn: Pfn,
        access: Access,
    ) -> Result<u32, GrantError> {
        let frame = u32::try_from(machine_frame(pfn)).map_err(|_| GrantError::FrameTooHigh)?;
        if self.free.is_empty() {
            self.grow()?;
        }
        let reference = self.free.pop().expect("each frame brings free entries");
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

    /// Ends a grant; returns false if the peer still maps the page.
    pub(super) fn end(&mut self, reference: u32) -> bool {
        let (memory, offset) = self.entry(reference);
        let in_use = (abi::GTF_reading | abi::GTF_writing) as u16;
        let mut flags = memory.load_u16(offset, Ordering::Acquire);
        // Only Xen and this guest write the flags. Each failed exchange means that a map or an
        // unmap came in between, so the bound is never reached.
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
