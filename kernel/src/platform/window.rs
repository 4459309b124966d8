//! The foreign window: a range of addresses with page tables of its own, the
//! only place where foreign frames are mapped: shared info, grant table, pages
//! granted by other domains.
//!
//! This file says which slot is for what, and lends slots out. How a slot gets its
//! frame differs: [`pv`] writes machine frames into the page tables,
//! [`pvh`] has Xen put them at guest frames outside memory, and maps
//! those.

use super::slot_map::SlotMap;
use super::table::ENTRIES;
use super::{Kind, kind, pv, pvh};
use crate::domain::{self, DomId};
use crate::grant::{Access, GrantError};
use crate::page::PAGE_SIZE;
use crate::shared_info;
use core::ops::Range;
use spin::Mutex;
use xen_sys::abi;

/// Start of the window, far above any memory a guest is given.
pub(super) const BASE: usize = shared_info::ADDRESS - SHARED_INFO_SLOT * PAGE_SIZE;

/// Number of page tables of the window.
pub(super) const TABLES: usize = 6;

/// Pages in the window: 12 MiB.
pub(super) const PAGES: usize = TABLES * ENTRIES;

/// Slot of the shared info page.
pub(super) const SHARED_INFO_SLOT: usize = 0;

/// First slot of the grant table.
pub(super) const GRANT_TABLE_SLOT: usize = 1;

/// Most frames of the grant table that fit into the window.
pub(crate) const GRANT_TABLE_FRAMES: usize = 63;

/// Slot of the console ring in a PVH guest, whose domain builder puts it far above
/// memory.
pub(super) const CONSOLE_SLOT: usize = GRANT_TABLE_SLOT + GRANT_TABLE_FRAMES;

/// Slot of the xenstore ring in a PVH guest.
pub(super) const STORE_SLOT: usize = CONSOLE_SLOT + 1;

/// First slot for pages granted by other domains.
pub(super) const FIRST_FREE_SLOT: usize = STORE_SLOT + 1;

static SLOTS: Mutex<SlotMap<{ PAGES / 64 }>> = Mutex::new(SlotMap::new(FIRST_FREE_SLOT));

/// Returns the address of a slot.
pub(super) const fn address(slot: usize) -> usize {
    BASE + slot * PAGE_SIZE
}

/// Returns the address at which frame `number` of the grant table is mapped.
pub(crate) fn grant_frame_address(number: usize) -> usize {
    assert!(number < GRANT_TABLE_FRAMES);
    address(GRANT_TABLE_SLOT + number)
}

/// Extends the grant table to the end of `frames`, if it is shorter, and maps these
/// frames of it.
///
/// # Errors
/// [`GrantError::TableFull`] if Xen does not let the table grow that far, or
/// [`GrantError::Refused`].
pub(crate) fn map_grant_frames(frames: Range<usize>) -> Result<(), GrantError> {
    assert!(frames.end <= GRANT_TABLE_FRAMES);
    match kind() {
        Kind::Pv => pv::map_grant_frames(frames),
        Kind::Pvh => pvh::map_grant_frames(frames),
    }
}

/// Unmaps frames of the grant table before a suspend, if the kind of guest needs that.
pub(crate) fn detach_grant_frames(frames: Range<usize>) {
    assert!(frames.end <= GRANT_TABLE_FRAMES);
    match kind() {
        Kind::Pv => pv::unmap_grant_frames(frames),
        Kind::Pvh => {}
    }
}

/// Maps frames of the grant table again after a cancelled suspend.
///
/// # Panics
/// If Xen has lost the table of a domain that did not end.
pub(crate) fn reattach_grant_frames(frames: Range<usize>) {
    match kind() {
        Kind::Pv => pv::map_grant_frames(frames).expect("the table is as it was"),
        Kind::Pvh => {}
    }
}

/// Returns whether pages of domain `domid` can be mapped. In a PVH guest those of the
/// guest itself cannot: Xen would take the page away from where it is
/// (`xen/arch/x86/mm/p2m.c:guest_physmap_add_entry`), and a peer that names us as its
/// domain must not achieve that.
pub(crate) fn may_map(domid: DomId) -> bool {
    /// What the own number is until it is known; no guest is domain 0.
    const UNKNOWN: DomId = 0;
    match kind() {
        Kind::Pv => true,
        Kind::Pvh => {
            let own = domain::domid();
            own != UNKNOWN && domid != own && u32::from(domid) < abi::DOMID_FIRST_RESERVED
        }
    }
}

/// Adjacent free slots for pages of other domains; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slots {
    first: usize,
    count: usize,
}

impl Slots {
    /// Takes `count` adjacent slots; returns `None` if the window is too full,
    /// or there is no memory for one of its page tables.
    pub(crate) fn take(count: usize) -> Option<Self> {
        let first = SLOTS.lock().take(count)?;
        // Dropped, and so given back, if one of the tables cannot be made.
        let slots = Self { first, count };
        for table in first / ENTRIES..(first + count).div_ceil(ENTRIES) {
            let address = address(table * ENTRIES);
            match kind() {
                Kind::Pv => pv::ensure_leaf_table(address),
                Kind::Pvh => pvh::ensure_leaf_table(address),
            }
            .ok()?;
        }
        Some(slots)
    }

    /// Returns the address of the first slot.
    pub(crate) fn address(&self) -> usize {
        address(self.first)
    }

    /// Returns what names slot `index` to Xen when it maps a page there, or unmaps
    /// it (`host_addr` of `struct gnttab_map_grant_ref`).
    pub(crate) fn host_address(&self, index: usize) -> u64 {
        assert!(index < self.count);
        match kind() {
            Kind::Pv => address(self.first + index) as u64,
            Kind::Pvh => pvh::host_address(self.first + index),
        }
    }

    /// Makes the pages that Xen has mapped in all of the slots accessible.
    pub(crate) fn show(&self, access: Access) {
        match kind() {
            // Xen has written the page-table entries.
            Kind::Pv => {}
            Kind::Pvh => pvh::show(self.first..self.first + self.count, access),
        }
    }

    /// Makes the pages inaccessible, before Xen unmaps them.
    pub(crate) fn hide(&self) {
        match kind() {
            // Xen clears the page-table entries.
            Kind::Pv => {}
            Kind::Pvh => pvh::hide(self.first..self.first + self.count),
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        SLOTS.lock().put(self.first, self.count);
    }
}
