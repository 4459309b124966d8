//! Page tables as both kinds of guest have them: four levels of 512 entries, each
//! table in the direct map at its own frame number.

use crate::page::{Mfn, PAGE_SIZE, Pfn};
use core::ops::Range;
use xen_sys::flags::PageFlags;

/// Entries in a table.
pub(super) const ENTRIES: usize = 512;

/// Makes a page-table entry that maps machine frame `mfn`.
pub(super) const fn entry(mfn: Mfn, flags: PageFlags) -> u64 {
    (mfn << 12) | flags.bits()
}

/// Returns the machine frame that an entry names.
const fn frame_of(entry: u64) -> Mfn {
    (entry & 0x000f_ffff_ffff_f000) >> 12
}

/// Returns the index of the entry for `address` in a table of `level` (1 is the
/// lowest).
pub(super) const fn index(address: usize, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) % ENTRIES
}

/// Reads an entry of a table.
pub(super) fn read_entry(table: Pfn, index: usize) -> u64 {
    assert!(index < ENTRIES);
    // SAFETY: `table` is one of our page tables; every one of them is in the
    // direct map, readable, and the index is within it.
    unsafe {
        ((table * PAGE_SIZE) as *const u64)
            .add(index)
            .read_volatile()
    }
}

/// Returns whether an entry is valid.
pub(super) const fn is_present(entry: u64) -> bool {
    entry & PageFlags::PRESENT.bits() != 0
}

/// Walks from the top-level table `root` to the table of `level` that covers
/// `address`; returns `None` if a table on the way does not exist. `own` translates
/// the frames that entries name to our own numbers.
#[inline]
pub(super) fn walk(root: Pfn, address: usize, level: u32, own: fn(Mfn) -> Pfn) -> Option<Pfn> {
    let mut table = root;
    for upper in (level + 1..=4).rev() {
        let entry = read_entry(table, index(address, upper));
        if !is_present(entry) {
            return None;
        }
        table = own(frame_of(entry));
    }
    Some(table)
}

/// Returns the address of the first page that the L1 table `table` for `address`
/// maps, from index `from` on.
pub(super) fn first_mapped(table: Pfn, address: usize, from: usize) -> Option<usize> {
    let first = address - address % (ENTRIES * PAGE_SIZE);
    (from..ENTRIES)
        .find(|&index| read_entry(table, index) != 0)
        .map(|index| first + index * PAGE_SIZE)
}

/// Returns how many L1 tables are missing to map all of `frames`, if there are
/// tables up to the first of them.
pub(super) fn missing_leaf_tables(frames: Range<Pfn>) -> usize {
    frames.end.div_ceil(ENTRIES) - frames.start.div_ceil(ENTRIES)
}
