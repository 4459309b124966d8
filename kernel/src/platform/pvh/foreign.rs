//! The foreign window of a PVH guest. Xen puts a foreign page at a guest frame; the
//! guest maps that frame in the window while the page is there, so that a use after it
//! is gone faults.
//!
//! The guest frames of the window are in the gap between memory and what the domain
//! builder keeps below 4 GiB. A save goes through all frames up to the highest one
//! that was ever in use, which the builder's are already
//! (`tools/libs/guest/xg_sr_save.c:send_all_pages`). It sends nothing for foreign
//! frames: they are not the domain's memory.

use super::START_INFO;
use super::hypercall::{add_to_physmap, set_parameter};
use super::page_table;
use crate::grant::{Access, GrantError};
use crate::hypercall::Refused;
use crate::page::{PAGE_SIZE, Pfn};
use crate::platform::table::ENTRIES;
use crate::platform::window::{
    FIRST_FREE_SLOT, GRANT_TABLE_FRAMES, GRANT_TABLE_SLOT, PAGES, SHARED_INFO_SLOT, TABLES, address,
};
use crate::shared_info;
use core::ops::Range;
use xen_sys::{abi, hvm};

/// The guest frame of the window's first slot: 128 MiB below the domain builder's
/// ACPI tables (`tools/firmware/hvmloader/config.h`, `ACPI_INFO_PHYSICAL_ADDRESS`),
/// and above the memory of any domain (`HVM_BELOW_4G_RAM_END`).
const FIRST_FRAME: Pfn = 0xf4000;

/// A vector that never interrupts, because interrupts stay disabled. Xen's toolstack
/// reports a cancelled suspend only to a guest that has set one
/// (`tools/libs/guest/xg_resume.c:modify_returncode`).
const VECTOR: u64 = 0xf3;

/// Returns the guest frame of a slot.
const fn frame(slot: usize) -> u64 {
    (FIRST_FRAME + slot) as u64
}

/// Checks that a domain of `total` frames leaves the window's frames alone.
///
/// # Panics
/// If it does not.
pub(super) fn check(total: usize) {
    let frames = FIRST_FRAME..FIRST_FRAME + PAGES;
    let info = START_INFO.get().expect("`enter` has run");
    assert!(
        total <= frames.start && !info.has_something_at(&frames),
        "something is where foreign pages go"
    );
}

/// Registers with Xen, and maps the shared info page. Done at boot and after each
/// suspend; in the same domain again it changes nothing.
///
/// # Panics
/// If Xen refuses.
pub(super) fn attach() {
    let callback = hvm::HVM_PARAM_CALLBACK_TYPE_VECTOR << 56 | VECTOR;
    set_parameter(hvm::HVM_PARAM_CALLBACK_IRQ, callback).expect("Xen takes any vector");
    // SAFETY: the frame is outside memory.
    unsafe { add_to_physmap(hvm::XENMAPSPACE_shared_info, 0, frame(SHARED_INFO_SLOT)) }
        .expect("Xen maps the page of any guest");
    page_table::map_page(
        address(SHARED_INFO_SLOT),
        frame(SHARED_INFO_SLOT),
        page_table::DATA,
    );
    shared_info::set_mapped(true);
}

/// Extends the grant table to the end of `frames`, if it is shorter, and maps these
/// frames of it.
pub(in crate::platform) fn map_grant_frames(frames: Range<usize>) -> Result<(), GrantError> {
    for number in frames {
        let slot = GRANT_TABLE_SLOT + number;
        // The table grows to the frame that is asked for
        // (`xen/common/grant_table.c:gnttab_map_frame`). SAFETY: the frame is outside
        // memory.
        unsafe { add_to_physmap(hvm::XENMAPSPACE_grant_table, number as u64, frame(slot)) }
            .map_err(|error| match error {
                // What Xen says beyond the domain's limit.
                Refused(abi::XEN_EINVAL) => GrantError::TableFull,
                error => GrantError::Refused(error),
            })?;
        page_table::map_page(address(slot), frame(slot), page_table::DATA);
    }
    Ok(())
}

/// Unmaps the frames of the former domain's grant table, which are gone.
pub(super) fn forget_grant_table() {
    for number in 0..GRANT_TABLE_FRAMES {
        page_table::unmap(address(GRANT_TABLE_SLOT + number));
    }
}

/// Returns the guest address of a slot.
pub(in crate::platform) fn host_address(slot: usize) -> u64 {
    frame(slot) * PAGE_SIZE as u64
}

/// Maps slots in which Xen has put pages.
pub(in crate::platform) fn show(slots: Range<usize>, access: Access) {
    let flags = match access {
        Access::ReadOnly => page_table::CONSTANT,
        Access::ReadWrite => page_table::DATA,
    };
    for slot in slots {
        page_table::map_page(address(slot), frame(slot), flags);
    }
}

/// Unmaps slots from which Xen is about to take the pages.
pub(in crate::platform) fn hide(slots: Range<usize>) {
    for slot in slots {
        page_table::unmap(address(slot));
    }
}

/// Returns the address of a page of another domain that is still mapped.
pub(super) fn leftover() -> Option<usize> {
    (0..TABLES).find_map(|table| {
        let from = if table == 0 { FIRST_FREE_SLOT } else { 0 };
        page_table::first_mapped(address(table * ENTRIES), from)
    })
}
