//! The start-of-day structures (`xen/include/public/arch-x86/hvm/start_info.h`),
//! which the domain builder puts behind the image.

use crate::page::{PAGE_SIZE, Pfn};
use crate::platform::frame_at;
use core::ffi::CStr;
use core::ops::Range;
use xen_sys::hvm;

/// Longest command line with its NUL (`tools/include/xenguest.h`,
/// `MAX_GUEST_CMDLINE`).
const LONGEST: usize = 1024;

/// The structure and what it points to. None of it changes.
#[derive(Clone, Copy)]
pub(super) struct StartInfo {
    address: usize,
    info: &'static hvm::hvm_start_info,
    map: &'static [hvm::hvm_memmap_table_entry],
}

impl StartInfo {
    /// # Safety
    /// `address` is what Xen's domain builder passed in EBX, and the first GiB is
    /// mapped at its own addresses.
    ///
    /// # Panics
    /// If it is not the structure, or comes without a memory map.
    pub(super) unsafe fn new(address: usize) -> Self {
        // SAFETY: the caller's promise; the structure is plain integers, and nothing
        // writes it.
        let info = unsafe { &*(address as *const hvm::hvm_start_info) };
        assert!(
            info.magic == hvm::XEN_HVM_START_MAGIC_VALUE,
            "no start_info at {address:#x}"
        );
        assert!(
            info.version >= 1 && info.memmap_paddr != 0,
            "start_info has no memory map"
        );
        // SAFETY: as above; the structure says where the map is and how long.
        let map = unsafe {
            core::slice::from_raw_parts(
                info.memmap_paddr as *const hvm::hvm_memmap_table_entry,
                info.memmap_entries as usize,
            )
        };
        Self { address, info, map }
    }

    /// Returns the number of frames of memory from address 0 on without a gap. What a
    /// domain of more than 3.75 GiB has above 4 GiB is left alone.
    pub(super) fn pages(&self) -> usize {
        let ram =
            |entry: &&hvm::hvm_memmap_table_entry| entry.type_ == hvm::XEN_HVM_MEMMAP_TYPE_RAM;
        let mut end = 0;
        // The entries are in order.
        for entry in self.map.iter().filter(ram) {
            if entry.addr <= end {
                end = end.max(entry.addr + entry.size);
            }
        }
        end as usize / PAGE_SIZE
    }

    /// Returns whether the map has an entry for one of `frames`.
    pub(super) fn has_something_at(&self, frames: &Range<Pfn>) -> bool {
        let page = PAGE_SIZE as u64;
        let (start, end) = (frames.start as u64 * page, frames.end as u64 * page);
        self.map
            .iter()
            .any(|entry| entry.addr < end && start < entry.addr + entry.size)
    }

    /// Returns the frames with the structures, from the first to the last.
    pub(super) fn frames(&self) -> Range<Pfn> {
        let command_line = self.info.cmdline_paddr as usize;
        let length = self
            .command_line_bytes()
            .map_or(0, |bytes| bytes.count_bytes() + 1);
        let parts = [
            (self.address, size_of::<hvm::hvm_start_info>()),
            (self.info.memmap_paddr as usize, size_of_val(self.map)),
            (command_line, length),
        ];
        let parts = || parts.iter().filter(|(address, _)| *address != 0);
        let start = parts().map(|&(address, _)| address).min().unwrap_or(0);
        let end = parts()
            .map(|&(address, len)| address + len)
            .max()
            .unwrap_or(0);
        frame_at(start)..end.div_ceil(PAGE_SIZE)
    }

    fn command_line_bytes(&self) -> Option<&'static CStr> {
        if self.info.cmdline_paddr == 0 {
            return None;
        }
        // SAFETY: the domain builder wrote a string there, which does not change; what
        // follows it is memory too.
        let bytes =
            unsafe { core::slice::from_raw_parts(self.info.cmdline_paddr as *const u8, LONGEST) };
        CStr::from_bytes_until_nul(bytes).ok()
    }

    /// Returns the command line, or `None` if it is not UTF-8.
    pub(super) fn command_line(&self) -> Option<&'static str> {
        self.command_line_bytes()
            .map_or(Some(""), |bytes| bytes.to_str().ok())
    }
}
