//! The foreign window: a range of addresses with page tables of its own, the
//! only place where foreign frames are mapped: shared info, grant table, pages
//! granted by other domains.
//!
//! Its first page table is made at boot, each of the others when a peer's pages
//! first need it, and then it stays. Making one takes a frame and does not
//! change the p2m, so it may happen while the toolstack reads our memory: a
//! frame that becomes a page table is marked dirty (`xen/arch/x86/mm.c:
//! _get_page_type`) and is sent again as a page table.
//!
//! Foreign frames in one range can be unmapped and checked for before a
//! suspend, which matters because a table that still refers to a foreign frame
//! is not saved (`tools/libs/guest/xg_sr_save_x86_pv.c`).

use super::hypercall::update_va_mapping;
use super::page_table::{self, DATA, entry};
use super::slot_map::SlotMap;
use super::start_info::StartInfo;
use crate::page::{Mfn, PAGE_SIZE};
use crate::shared_info;
use spin::Mutex;

/// Start of the window, far above any memory a guest is given.
const BASE: usize = shared_info::ADDRESS - SHARED_INFO_SLOT * PAGE_SIZE;

/// Number of page tables of the window.
const TABLES: usize = 6;

/// Pages in the window: 12 MiB.
const PAGES: usize = TABLES * page_table::ENTRIES;

/// Slot of the shared info page.
const SHARED_INFO_SLOT: usize = 0;

/// First slot of the grant table.
const GRANT_TABLE_SLOT: usize = 1;

/// Most frames of the grant table that fit into the window.
pub(crate) const GRANT_TABLE_FRAMES: usize = 63;

/// First slot for pages granted by other domains.
const FIRST_FREE_SLOT: usize = GRANT_TABLE_SLOT + GRANT_TABLE_FRAMES;

static SLOTS: Mutex<SlotMap<{ PAGES / 64 }>> = Mutex::new(SlotMap::new(FIRST_FREE_SLOT));

/// Returns the address of a slot.
const fn address(slot: usize) -> usize {
    BASE + slot * PAGE_SIZE
}

/// Makes the window's first page table and maps the shared info page.
pub(super) fn init(info: &StartInfo) {
    page_table::ensure_leaf_table(BASE).expect("memory for page tables at boot");
    attach(info);
}

/// Maps the shared info page that `info` names.
pub(super) fn attach(info: &StartInfo) {
    let machine_address = info.shared_info_machine_address();
    map_slot(SHARED_INFO_SLOT, machine_address / PAGE_SIZE as u64);
    shared_info::set_mapped(true);
}

/// Unmaps the shared info page, the last thing in the window.
///
/// # Errors
/// The address of a page that is still mapped, because some part has not
/// released it. The toolstack would silently drop the whole page table, and
/// this window with it.
pub(super) fn detach() -> Result<(), usize> {
    shared_info::set_mapped(false);
    page_table::unmap(address(SHARED_INFO_SLOT));
    (0..TABLES).try_for_each(|table| {
        match page_table::first_mapped(address(table * page_table::ENTRIES)) {
            Some(address) => Err(address),
            None => Ok(()),
        }
    })
}

/// Unmaps frame `number` of the grant table.
pub(crate) fn unmap_grant_frame(number: usize) {
    assert!(number < GRANT_TABLE_FRAMES);
    page_table::unmap(address(GRANT_TABLE_SLOT + number));
}

fn map_slot(slot: usize, mfn: Mfn) {
    // SAFETY: the slot is in the window, where no ordinary memory is.
    unsafe { update_va_mapping(address(slot), entry(mfn, DATA)) }
        .expect("Xen maps what it told us to map");
}

/// Maps frame `number` of the grant table and returns its address.
pub(crate) fn map_grant_frame(number: usize, mfn: Mfn) -> usize {
    assert!(number < GRANT_TABLE_FRAMES);
    map_slot(GRANT_TABLE_SLOT + number, mfn);
    address(GRANT_TABLE_SLOT + number)
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
        for table in first / page_table::ENTRIES..(first + count).div_ceil(page_table::ENTRIES) {
            page_table::ensure_leaf_table(address(table * page_table::ENTRIES)).ok()?;
        }
        Some(slots)
    }

    /// Returns the address of the first slot.
    pub(crate) fn address(&self) -> usize {
        address(self.first)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        SLOTS.lock().put(self.first, self.count);
    }
}
