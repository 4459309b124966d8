//! The foreign window of a PV guest: entries in page tables of its own.
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
use super::page_table::{self, DATA};
use super::start_info::StartInfo;
use crate::domain::DomId;
use crate::grant::GrantError;
use crate::hypercall::grant_table_op;
use crate::page::{Mfn, PAGE_SIZE};
use crate::platform::table::{ENTRIES, entry};
use crate::platform::window::{
    BASE, GRANT_TABLE_FRAMES, GRANT_TABLE_SLOT, SHARED_INFO_SLOT, TABLES, address,
};
use crate::shared_info;
use core::ops::Range;
use xen_sys::abi;

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
    (0..TABLES).try_for_each(
        |table| match page_table::first_mapped(address(table * ENTRIES)) {
            Some(address) => Err(address),
            None => Ok(()),
        },
    )
}

fn map_slot(slot: usize, mfn: Mfn) {
    // SAFETY: the slot is in the window, where no ordinary memory is.
    unsafe { update_va_mapping(address(slot), entry(mfn, DATA)) }
        .expect("Xen maps what it told us to map");
}

/// Extends the grant table to the end of `frames`, if it is shorter, and maps these
/// frames of it (`GNTTABOP_setup_table`).
pub(in crate::platform) fn map_grant_frames(frames: Range<usize>) -> Result<(), GrantError> {
    let mut list: [Mfn; GRANT_TABLE_FRAMES] = [0; GRANT_TABLE_FRAMES];
    assert!(frames.end <= list.len());
    let mut operation = [abi::gnttab_setup_table {
        dom: abi::DOMID_SELF as DomId,
        nr_frames: frames.end as u32,
        status: 0,
        frame_list: abi::__guest_handle_xen_pfn_t {
            p: list.as_mut_ptr(),
        },
    }];
    // SAFETY: the structure of this command; Xen writes as many frame numbers to
    // `list` as it is asked for, and the list is longer.
    unsafe { grant_table_op(abi::GNTTABOP_setup_table, &mut operation) }?;
    if i32::from(operation[0].status) != abi::GNTST_okay as i32 {
        return Err(GrantError::TableFull);
    }
    for number in frames {
        map_slot(GRANT_TABLE_SLOT + number, list[number]);
    }
    Ok(())
}

/// Unmaps these frames of the grant table.
pub(in crate::platform) fn unmap_grant_frames(frames: Range<usize>) {
    for number in frames {
        page_table::unmap(address(GRANT_TABLE_SLOT + number));
    }
}
