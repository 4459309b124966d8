//! Page tables, which the guest writes itself.
//!
//! `boot` maps the first GiB in large pages; [`map_from_start`] replaces that by
//! pages of 4 KiB. Instructions and constants are read-only, nothing else is
//! executable. A frame without memory has no entry: Xen would not report an access
//! through one, but ignore it.

use super::frame_of;
use super::hypercall::write_msr;
use crate::mem::frames::{self, OutOfMemory};
use crate::page::{PAGE_SIZE, Pfn};
use crate::platform::image;
use crate::platform::table::{self, ENTRIES, entry, index};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::flags::PageFlags;

unsafe extern "C" {
    static pvh_root: u8;
    static pvh_low: u8;
}

/// Flags of a leaf entry for instructions.
const TEXT: PageFlags = PageFlags::PRESENT.union(PageFlags::ACCESSED);

/// Flags of a leaf entry for constants.
pub(super) const CONSTANT: PageFlags = TEXT.union(PageFlags::NO_EXECUTE);

/// Flags of a leaf entry for ordinary memory.
pub(super) const DATA: PageFlags = CONSTANT.union(PageFlags::WRITABLE).union(PageFlags::DIRTY);

/// Flags of an entry that refers to a lower table.
const TABLE: PageFlags = PageFlags::PRESENT
    .union(PageFlags::WRITABLE)
    .union(PageFlags::ACCESSED);

/// The extended feature register and its bit that makes [`PageFlags::NO_EXECUTE`] valid.
const EFER: u32 = 0xc000_0080;
const EFER_NXE: u64 = 1 << 11;

/// The CPUID leaf with that feature, and the feature's bit in EDX.
const EXTENDED_FEATURES: u32 = 0x8000_0001;
const NX: u32 = 1 << 20;

/// The flags that the processor knows: all of them, or all but one.
static KNOWN: AtomicU64 = AtomicU64::new(!PageFlags::NO_EXECUTE.bits());

/// Allows entries to forbid execution, if the processor can do that.
///
/// # Safety
/// Runs once, on the page tables of `boot`.
pub(super) unsafe fn init() {
    if __cpuid(EXTENDED_FEATURES).edx & NX == 0 {
        return;
    }
    let (low, high): (u32, u32);
    // SAFETY: every processor with long mode has the register, and reading it has no
    // effect.
    unsafe {
        asm!(
            "rdmsr",
            in("ecx") EFER,
            out("eax") low,
            out("edx") high,
            options(nomem, nostack, preserves_flags)
        );
    }
    let value = u64::from(high) << 32 | u64::from(low);
    // SAFETY: the processor has the feature, and no entry uses the bit yet.
    unsafe { write_msr(EFER, value | EFER_NXE) };
    KNOWN.store(!0, Ordering::Relaxed);
}

/// Makes a leaf entry.
fn leaf(pfn: u64, flags: PageFlags) -> u64 {
    entry(pfn, flags) & KNOWN.load(Ordering::Relaxed)
}

/// Walks to the table of `level` that covers `address`; returns `None` if a
/// table on the way does not exist.
fn walk(address: usize, level: u32) -> Option<Pfn> {
    table::walk(frame_of(&raw const pvh_root), address, level, |frame| {
        frame as Pfn
    })
}

/// Writes an entry of a table.
///
/// # Safety
/// `table` is a table, or a frame that nothing else uses, and the new entry leaves
/// every mapping that Rust relies on in place.
unsafe fn write_entry(table: Pfn, index: usize, entry: u64) {
    assert!(index < ENTRIES);
    // SAFETY: tables are in the direct map; the index is within it; the caller
    // promises the rest.
    unsafe {
        ((table * PAGE_SIZE) as *mut u64)
            .add(index)
            .write_volatile(entry);
    }
}

/// Forgets the cached translation of a page.
fn forget(address: usize) {
    // SAFETY: drops a cached copy of an entry, nothing else.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Forgets all cached translations.
fn forget_all() {
    // SAFETY: writes the register's own value back.
    unsafe {
        asm!(
            "mov {0}, cr3",
            "mov cr3, {0}",
            out(reg) _,
            options(nostack, preserves_flags)
        );
    }
}

/// Returns how many L1 tables map the first `frames` frames.
pub(super) fn tables_for(frames: usize) -> usize {
    frames.div_ceil(ENTRIES)
}

/// Maps the first `mapped` frames page by page, in tables that are made of the frames
/// `tables`, and nothing else below 1 GiB. Page 0 and the guard page below the stack
/// stay unmapped.
pub(super) fn map_from_start(mapped: usize, tables: Range<Pfn>) {
    assert!(tables.len() == tables_for(mapped) && mapped <= ENTRIES * ENTRIES);
    let (text, constants) = (image::text(), image::constants());
    let guard = image::stack_guard() / PAGE_SIZE;
    for (number, table) in tables.clone().enumerate() {
        for at in 0..ENTRIES {
            let pfn = number * ENTRIES + at;
            let flags = if pfn == 0 || pfn == guard || pfn >= mapped {
                None
            } else if text.contains(&pfn) {
                Some(TEXT)
            } else if constants.contains(&pfn) {
                Some(CONSTANT)
            } else {
                Some(DATA)
            };
            // SAFETY: the frame lies behind everything in use, and no entry leads to
            // it yet.
            unsafe { write_entry(table, at, flags.map_or(0, |flags| leaf(pfn as u64, flags))) };
        }
    }
    let low = frame_of(&raw const pvh_low);
    for at in 0..ENTRIES {
        let entry = match tables.start + at {
            table if table < tables.end => entry(table as u64, TABLE),
            _ => 0,
        };
        // SAFETY: whatever is in use stays mapped where it was, see above.
        unsafe { write_entry(low, at, entry) };
    }
    forget_all();
}

/// Maps a page of the foreign window, whose table exists.
pub(super) fn map_page(address: usize, frame: u64, flags: PageFlags) {
    let table = walk(address, 1).expect("the window's table is there");
    // SAFETY: no ordinary memory is in the window.
    unsafe { write_entry(table, index(address, 1), leaf(frame, flags)) };
    // An entry that was not valid is not cached, but one may be replaced.
    forget(address);
}

/// Unmaps a page of the foreign window.
pub(super) fn unmap(address: usize) {
    let Some(table) = walk(address, 1) else {
        return;
    };
    // SAFETY: as for mapping.
    unsafe { write_entry(table, index(address, 1), 0) };
    forget(address);
}

/// Returns the first address that the L1 table for `address` maps from its entry
/// `from` on.
pub(super) fn first_mapped(address: usize, from: usize) -> Option<usize> {
    table::first_mapped(walk(address, 1)?, address, from)
}

/// Returns the table of `level` that covers `address`; makes it if it is missing.
fn ensure(address: usize, level: u32) -> Result<Pfn, OutOfMemory> {
    if let Some(table) = walk(address, level) {
        return Ok(table);
    }
    let frame = frames::take_zeroed()?;
    let table = frame.pfn();
    let parent = ensure(address, level + 1)?;
    // SAFETY: the table is empty, and the entry was.
    unsafe {
        write_entry(
            parent,
            index(address, level + 1),
            entry(table as u64, TABLE),
        )
    };
    frame.keep_for_ever();
    Ok(table)
}

/// Makes the L1 table for `address` if it is missing.
///
/// # Errors
/// [`OutOfMemory`].
pub(in crate::platform) fn ensure_leaf_table(address: usize) -> Result<(), OutOfMemory> {
    ensure(address, 1).map(drop)
}

/// Makes the L2 tables for all frames below `total`, so that afterwards only L1
/// tables can be missing.
pub(super) fn ensure_upper_tables(total: usize) {
    for pfn in (0..total).step_by(ENTRIES * ENTRIES) {
        ensure(pfn * PAGE_SIZE, 2).expect("memory for page tables at boot");
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
    let leaf_table = table
        .or_else(|| walk(base, 1))
        .expect("the L1 table is there, or a frame for it");
    if table.is_some() {
        for at in 0..ENTRIES {
            // SAFETY: the frame is mapped and not otherwise in use.
            unsafe { write_entry(leaf_table, at, 0) };
        }
    }
    for pfn in frames {
        // SAFETY: nothing is mapped there, so no mapping changes.
        unsafe {
            write_entry(
                leaf_table,
                index(pfn * PAGE_SIZE, 1),
                leaf(pfn as u64, DATA),
            );
        }
    }
    if table.is_some() {
        let parent = walk(base, 2).expect("made at boot");
        // SAFETY: the entry was empty.
        unsafe { write_entry(parent, index(base, 2), entry(leaf_table as u64, TABLE)) };
    }
}

/// Unmaps free frames that lie within one L1 table.
pub(in crate::platform) fn unmap_frames(frames: Range<Pfn>) {
    let table = walk(frames.start * PAGE_SIZE, 1).expect("the L1 table is there");
    for pfn in frames {
        let address = pfn * PAGE_SIZE;
        // SAFETY: the frames are unused, so no mapping that Rust relies on changes.
        unsafe { write_entry(table, index(address, 1), 0) };
        forget(address);
    }
}
