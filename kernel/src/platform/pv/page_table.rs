//! Page tables. Xen validates every change, so a table is filled while it is
//! ordinary memory, made read-only, and only then linked in
//! (`xen/arch/x86/mm.c:get_page_type`).

use super::hypercall::{flush_tlb, mmu_update, update_va_mapping};
use super::p2m::{machine_frame, pseudo_physical_frame};
use super::start_info::StartInfo;
use crate::hypercall::Refused;
use crate::mem::BATCH;
use crate::mem::frames::{self, OutOfMemory};
use crate::page::{PAGE_SIZE, Pfn};
use crate::platform::table::{self, ENTRIES, entry, index, is_present, read_entry};
use core::ops::Range;
use spin::Once;
use xen_sys::abi;
use xen_sys::flags::PageFlags;

/// Flags of a leaf entry for ordinary memory.
pub(super) const DATA: PageFlags = PageFlags::PRESENT
    .union(PageFlags::WRITABLE)
    .union(PageFlags::USER)
    .union(PageFlags::ACCESSED)
    .union(PageFlags::DIRTY);

/// Flags with which a page that is itself a table may be mapped.
const TABLE_SELF: PageFlags = PageFlags::PRESENT
    .union(PageFlags::USER)
    .union(PageFlags::ACCESSED);

/// Flags of an entry that refers to a lower table.
const TABLE: PageFlags = DATA;

/// The frame of the top-level table.
static ROOT: Once<Pfn> = Once::new();

/// Walks to the table of `level` that covers `address`; returns `None` if a
/// table on the way does not exist.
fn walk(address: usize, level: u32) -> Option<Pfn> {
    let root = *ROOT.get().expect("page tables are set up");
    table::walk(root, address, level, pseudo_physical_frame)
}

/// Returns how many frames Xen's initial page tables map from address 0 on
/// without a gap.
pub(super) fn initially_mapped(info: &StartInfo) -> Pfn {
    ROOT.call_once(|| info.page_table_base() / PAGE_SIZE);
    let mut pfn = 0;
    while let Some(table) = walk(pfn * PAGE_SIZE, 1) {
        if !is_present(read_entry(table, index(pfn * PAGE_SIZE, 1))) {
            break;
        }
        pfn += 1;
    }
    pfn.min(info.pages())
}

/// Unmaps the page at `address`.
pub(super) fn unmap(address: usize) {
    // SAFETY: the callers pass pages that nothing uses: page 0, the guard below
    // the stack, slots of the foreign window.
    unsafe { update_va_mapping(address, 0) }.expect("Xen lets a guest unmap its own page");
}

/// Returns the first address that the L1 table for `address` maps, or `None` if
/// the table maps nothing or is missing.
pub(super) fn first_mapped(address: usize) -> Option<usize> {
    table::first_mapped(walk(address, 1)?, address, 0)
}

/// Turns a filled frame into the table of `level` for `address` and links it
/// in.
fn hook(table: Pfn, address: usize, level: u32) {
    let mfn = machine_frame(table);
    // SAFETY: the frame belongs to us alone, and is only read from here on.
    unsafe { update_va_mapping(table * PAGE_SIZE, entry(mfn, TABLE_SELF)) }
        .expect("a page can be made read-only");
    let parent = ensure(address, level + 1);
    let update = update(parent, index(address, level + 1), entry(mfn, TABLE));
    // SAFETY: the entry was empty, so no mapping changes.
    unsafe { mmu_update(&[update]) }.expect("Xen accepts a valid table");
}

/// Makes the request to set entry `index` of a table.
fn update(table: Pfn, index: usize, entry: u64) -> abi::mmu_update {
    let slot = (machine_frame(table) << 12) + (index * size_of::<u64>()) as u64;
    abi::mmu_update {
        ptr: slot | u64::from(abi::MMU_NORMAL_PT_UPDATE),
        val: entry,
    }
}

/// Returns the table of `level` that covers `address`; makes it if it is
/// missing.
///
/// # Panics
/// If there is no memory for it.
fn ensure(address: usize, level: u32) -> Pfn {
    try_ensure(address, level).expect("memory for page tables at boot")
}

fn try_ensure(address: usize, level: u32) -> Result<Pfn, OutOfMemory> {
    if let Some(table) = walk(address, level) {
        return Ok(table);
    }
    let frame = frames::take_zeroed()?;
    let pfn = frame.pfn();
    hook(pfn, address, level);
    frame.keep_for_ever();
    Ok(pfn)
}

/// Makes the L1 table for `address` if it is missing, so that entries can be
/// set in it. Upper tables can be missing only at boot.
///
/// # Errors
/// [`OutOfMemory`].
pub(in crate::platform) fn ensure_leaf_table(address: usize) -> Result<(), OutOfMemory> {
    try_ensure(address, 1).map(drop)
}

/// Makes the L2 tables for all frames below `total`, so that afterwards only L1
/// tables can be missing.
pub(super) fn ensure_upper_tables(total: usize) {
    for pfn in (0..total).step_by(ENTRIES * ENTRIES) {
        ensure(pfn * PAGE_SIZE, 2);
    }
}

/// Returns whether there is an L1 table to map frame `pfn` at its own address.
pub(in crate::platform) fn has_leaf_table(pfn: Pfn) -> bool {
    walk(pfn * PAGE_SIZE, 1).is_some()
}

/// Maps frames that lie within one L1 table at their own addresses, where
/// nothing is mapped yet. If that table is missing, frame `table` becomes the
/// table.
pub(in crate::platform) fn map_frames(frames: Range<Pfn>, table: Option<Pfn>) {
    let base = frames.start * PAGE_SIZE;
    if let Some(table) = table {
        let entries = (table * PAGE_SIZE) as *mut u64;
        // SAFETY: the frame is mapped and not otherwise in use; the indices are
        // within it.
        unsafe {
            entries.write_bytes(0, ENTRIES);
            for pfn in frames {
                let entry = entry(machine_frame(pfn), DATA);
                entries.add(index(pfn * PAGE_SIZE, 1)).write_volatile(entry);
            }
        }
        hook(table, base, 1);
        return;
    }
    set_entries(frames, |pfn| entry(machine_frame(pfn), DATA))
        .expect("Xen maps a guest's own page");
}

/// Unmaps free frames that lie within one L1 table.
pub(in crate::platform) fn unmap_frames(frames: Range<Pfn>) {
    set_entries(frames, |_| 0).expect("Xen lets a guest unmap its own page");
    // Without the flush an old translation could survive the next mapping here.
    flush_tlb();
}

/// Sets the L1 entries of free frames, one batch at a time.
fn set_entries(frames: Range<Pfn>, value: impl Fn(Pfn) -> u64) -> Result<(), Refused> {
    let table = walk(frames.start * PAGE_SIZE, 1).expect("the L1 table is there");
    let mut updates = [abi::mmu_update { ptr: 0, val: 0 }; BATCH];
    let mut start = frames.start;
    while start < frames.end {
        let batch = start..frames.end.min(start + BATCH);
        for (slot, pfn) in updates.iter_mut().zip(batch.clone()) {
            *slot = update(table, index(pfn * PAGE_SIZE, 1), value(pfn));
        }
        // SAFETY: the frames are unused, so no mapping that Rust relies on
        // changes.
        unsafe { mmu_update(&updates[..batch.len()]) }?;
        start = batch.end;
    }
    Ok(())
}
