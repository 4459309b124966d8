//! Page tables: Xen checks every change, so a table is filled while it is
//! ordinary memory, made read-only, and then hooked in
//! (`xen/arch/x86/mm.c:get_page_type`).

use super::hypercall::{mmu_update, update_va_mapping};
use super::p2m::{self, machine_frame, pseudo_physical_frame};
use super::{Mfn, Pfn, StartInfo};
use crate::PAGE_SIZE;
use crate::mem::frames;
use core::ops::Range;
use spin::Once;
use xen_sys::abi;
use xen_sys::flags::PageFlags;

/// Entries of a table.
const ENTRIES: usize = 512;

/// What a leaf entry of ordinary memory carries.
pub(super) const DATA: PageFlags = PageFlags::PRESENT
    .union(PageFlags::WRITABLE)
    .union(PageFlags::USER)
    .union(PageFlags::ACCESSED)
    .union(PageFlags::DIRTY);

/// What a page that is itself a table may be mapped with.
const TABLE_SELF: PageFlags = PageFlags::PRESENT
    .union(PageFlags::USER)
    .union(PageFlags::ACCESSED);

/// What an entry that leads to a lower table carries.
const TABLE: PageFlags = DATA;

/// Frame of the top-level table.
static ROOT: Once<Pfn> = Once::new();

/// A page-table entry that maps machine frame `mfn`.
pub(super) const fn entry(mfn: Mfn, flags: PageFlags) -> u64 {
    (mfn << 12) | flags.bits()
}

const fn frame_of(entry: u64) -> Mfn {
    (entry & 0x000f_ffff_ffff_f000) >> 12
}

/// Index into the table of `level` (1 lowest) on the way to `address`.
const fn index(address: usize, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) % ENTRIES
}

fn read_entry(table: Pfn, index: usize) -> u64 {
    assert!(index < ENTRIES);
    // SAFETY: `table` is one of our page tables; every one of them is in the
    // direct map, readable, and the index is within it.
    unsafe {
        ((table * PAGE_SIZE) as *const u64)
            .add(index)
            .read_volatile()
    }
}

/// Walks to the table of `level` that covers `address`; `None` where the way
/// there does not exist.
fn walk(address: usize, level: u32) -> Option<Pfn> {
    let mut table = *ROOT.get().expect("page tables are set up");
    for upper in (level + 1..=4).rev() {
        let entry = read_entry(table, index(address, upper));
        if entry & PageFlags::PRESENT.bits() == 0 {
            return None;
        }
        table = pseudo_physical_frame(frame_of(entry));
    }
    Some(table)
}

/// Frames that Xen's initial page tables map from address 0 on, without a gap.
pub(super) fn initially_mapped(info: &StartInfo) -> Pfn {
    p2m::init(info);
    ROOT.call_once(|| info.page_table_base() / PAGE_SIZE);
    let mut pfn = 0;
    while let Some(table) = walk(pfn * PAGE_SIZE, 1) {
        if read_entry(table, index(pfn * PAGE_SIZE, 1)) & PageFlags::PRESENT.bits() == 0 {
            break;
        }
        pfn += 1;
    }
    pfn.min(info.pages())
}

/// Takes the page at `address` out of the address space.
pub(super) fn unmap(address: usize) {
    // SAFETY: the callers name pages that nothing uses: page 0, the guard
    // below the stack, slots of the foreign window.
    unsafe { update_va_mapping(address, 0) }.expect("Xen lets a guest unmap its own page");
}

/// The L1 entry that maps `address`; zero where there is none.
pub(super) fn leaf(address: usize) -> u64 {
    walk(address, 1).map_or(0, |table| read_entry(table, index(address, 1)))
}

/// Makes a filled frame a table of `level` and hooks it in above `address`.
fn hook(frame: frames::Frame, address: usize, level: u32) {
    let mfn = machine_frame(frame.pfn());
    // SAFETY: the frame is ours alone; from here on it is only read.
    unsafe { update_va_mapping(frame.pfn() * PAGE_SIZE, entry(mfn, TABLE_SELF)) }
        .expect("a page can be made read-only");
    let parent = ensure(address, level + 1);
    let slot = (machine_frame(parent) << 12) + (index(address, level + 1) * 8) as u64;
    let update = abi::mmu_update {
        ptr: slot | u64::from(abi::MMU_NORMAL_PT_UPDATE),
        val: entry(mfn, TABLE),
    };
    // SAFETY: the entry was empty, so no mapping changes.
    unsafe { mmu_update(&[update]) }.expect("Xen accepts a valid table");
    frame.keep_for_ever();
}

/// The table of `level` that covers `address`, made where it is missing.
fn ensure(address: usize, level: u32) -> Pfn {
    if let Some(table) = walk(address, level) {
        return table;
    }
    let frame = frames::take_zeroed().expect("memory for page tables at boot");
    let pfn = frame.pfn();
    hook(frame, address, level);
    pfn
}

/// Makes the L1 table for `address`, so that entries can be set there.
pub(super) fn ensure_leaf_table(address: usize) {
    ensure(address, 1);
}

/// Maps the frames of `range` at their own addresses and gives them to the
/// frame pool.
///
/// Goes table by table, so that the frame of the next table can come from
/// what the one before has mapped.
pub(super) fn map_all(range: Range<Pfn>) {
    let mut pfn = range.start;
    while pfn < range.end {
        let table_end = (pfn / ENTRIES + 1) * ENTRIES;
        let end = table_end.min(range.end);
        if walk(pfn * PAGE_SIZE, 1).is_some() {
            // The initial tables end inside this one: entry by entry.
            for single in pfn..end {
                // SAFETY: nothing was mapped here.
                unsafe {
                    update_va_mapping(single * PAGE_SIZE, entry(machine_frame(single), DATA))
                }
                .expect("Xen maps a guest's own page");
            }
        } else {
            let frame = frames::take_zeroed().expect("memory for page tables at boot");
            for single in pfn..end {
                frame.write_entry(single % ENTRIES, entry(machine_frame(single), DATA));
            }
            hook(frame, pfn * PAGE_SIZE, 1);
        }
        frames::extend(pfn..end);
        pfn = end;
    }
}
