//! The foreign window: a range of addresses with page tables of its own, the
//! only place where frames that are not the guest's memory are mapped: shared
//! info, grant table, pages granted by other domains.
//!
//! Its first page table is made at boot, each of the others when a peer's
//! pages first need it; from then on it stays. That takes one frame and leaves
//! the p2m as it is, so it may happen while the toolstack reads our memory: a
//! frame that becomes a page table is dirty (`xen/arch/x86/mm.c:
//! _get_page_type`) and is sent again as what it is then.
//!
//! Together they can be taken away and checked before a suspend, because a
//! table that still names a foreign frame then is not saved
//! (`tools/libs/guest/xg_sr_save_x86_pv.c`).

use super::hypercall::update_va_mapping;
use super::page_table::{self, DATA, entry};
use super::slot_map::SlotMap;
use super::{Mfn, StartInfo};
use crate::PAGE_SIZE;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use spin::Mutex;
use xen_sys::abi;

/// Start of the window: the last but one GiB below 512 GiB, far above any
/// memory a guest is given.
const BASE: usize = 511 << 30;

/// Page tables of the window.
const TABLES: usize = 6;

/// Pages in the window: 12 MiB.
const PAGES: usize = TABLES * page_table::ENTRIES;

/// Slot of the shared info page.
const SHARED_INFO_SLOT: usize = 0;

/// First slot of the grant table.
const GRANT_TABLE_SLOT: usize = 1;

/// Most frames of the grant table that the window has room for.
pub(crate) const GRANT_TABLE_FRAMES: usize = 63;

/// First slot for pages of other domains.
const FIRST_FREE_SLOT: usize = GRANT_TABLE_SLOT + GRANT_TABLE_FRAMES;

static SLOTS: Mutex<SlotMap<{ PAGES / 64 }>> = Mutex::new(SlotMap::new(FIRST_FREE_SLOT));

/// Address of a slot.
const fn address(slot: usize) -> usize {
    BASE + slot * PAGE_SIZE
}

/// Makes the window's first page table and maps the shared info page.
pub(super) fn init(info: &StartInfo) {
    page_table::ensure_leaf_table(BASE).expect("memory for page tables at boot");
    attach(info);
}

/// Whether the shared info page is mapped.
static ATTACHED: AtomicBool = AtomicBool::new(false);

/// See [`ATTACHED`]; what is printed meanwhile cannot ask for the time.
pub(crate) fn is_attached() -> bool {
    ATTACHED.load(Ordering::Relaxed)
}

/// Maps the shared info page that `info` names, after a suspend.
pub(super) fn attach(info: &StartInfo) {
    let machine_address = info.shared_info_machine_address();
    map_slot(SHARED_INFO_SLOT, machine_address / PAGE_SIZE as u64);
    ATTACHED.store(true, Ordering::Relaxed);
}

/// Takes the shared info page away, the last thing in the window.
///
/// # Errors
/// The address of a page that is still mapped: whoever mapped it has not let
/// go of it. The toolstack would drop the whole page table, and with it this
/// window, without a word.
pub(super) fn detach() -> Result<(), usize> {
    ATTACHED.store(false, Ordering::Relaxed);
    page_table::unmap(address(SHARED_INFO_SLOT));
    (0..TABLES).try_for_each(|table| {
        match page_table::first_mapped(address(table * page_table::ENTRIES)) {
            Some(address) => Err(address),
            None => Ok(()),
        }
    })
}

/// Takes frame `number` of the grant table away.
pub(crate) fn unmap_grant_frame(number: usize) {
    assert!(number < GRANT_TABLE_FRAMES);
    page_table::unmap(address(GRANT_TABLE_SLOT + number));
}

fn map_slot(slot: usize, mfn: Mfn) {
    // SAFETY: the slot is in the window, where no ordinary memory lives.
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
    /// Takes `count` adjacent slots, or `None` where the window is too full,
    /// or there is no memory for a page table of it.
    pub(crate) fn take(count: usize) -> Option<Self> {
        let first = SLOTS.lock().take(count)?;
        // Given back where one of the tables cannot be made.
        let slots = Self { first, count };
        for table in first / page_table::ENTRIES..(first + count).div_ceil(page_table::ENTRIES) {
            page_table::ensure_leaf_table(address(table * page_table::ENTRIES)).ok()?;
        }
        Some(slots)
    }

    /// Address of the first slot.
    pub(crate) fn address(&self) -> usize {
        address(self.first)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        SLOTS.lock().put(self.first, self.count);
    }
}

/// The shared info page, through single reads and atomic bit operations.
pub(crate) struct SharedInfo(*const abi::shared_info);

/// The shared info page where [`init`] maps it.
pub(crate) const fn shared_info() -> SharedInfo {
    SharedInfo(address(SHARED_INFO_SLOT) as *const abi::shared_info)
}

impl SharedInfo {
    fn pending_word(&self, port: u32) -> &AtomicU64 {
        let word = port as usize / 64;
        assert!(word < 64, "port {port} is beyond the 2-level ABI");
        // SAFETY: the page is mapped from `init` on; the word is aligned,
        // inside the array, and only ever accessed atomically.
        unsafe { AtomicU64::from_ptr(addr_of!((*self.0).evtchn_pending[word]).cast_mut()) }
    }

    /// Whether an event waits on `port`.
    pub(crate) fn is_pending(&self, port: u32) -> bool {
        self.pending_word(port).load(Ordering::Acquire) & (1 << (port % 64)) != 0
    }

    /// Takes the event that waits on `port`, if there is one.
    pub(crate) fn take_pending(&self, port: u32) -> bool {
        let bit = 1 << (port % 64);
        self.is_pending(port)
            && self.pending_word(port).fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Xen's record of system time for vCPU 0, consistent in itself.
    pub(crate) fn time(&self) -> abi::vcpu_time_info {
        // SAFETY: the page is mapped; volatile reads of plain integers.
        let version = || unsafe { addr_of!((*self.0).vcpu_info[0].time.version).read_volatile() };
        loop {
            // Xen makes the version odd while it writes; it does so from an
            // interrupt that ends before this vCPU runs on, so this loop is
            // passed twice at most.
            let before = version();
            core::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: as above.
            let time = unsafe { addr_of!((*self.0).vcpu_info[0].time).read_volatile() };
            core::sync::atomic::fence(Ordering::Acquire);
            if before.is_multiple_of(2) && version() == before {
                return time;
            }
        }
    }

    /// Unix time, in (seconds, nanoseconds), at system time zero.
    pub(crate) fn wall_clock_base(&self) -> (u64, u32) {
        // SAFETY: the page is mapped; volatile reads of plain integers.
        let version = || unsafe { addr_of!((*self.0).wc_version).read_volatile() };
        loop {
            let before = version();
            core::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: as above.
            let (high, low, nanos) = unsafe {
                (
                    addr_of!((*self.0).wc_sec_hi).read_volatile(),
                    addr_of!((*self.0).wc_sec).read_volatile(),
                    addr_of!((*self.0).wc_nsec).read_volatile(),
                )
            };
            core::sync::atomic::fence(Ordering::Acquire);
            if before.is_multiple_of(2) && version() == before {
                return (u64::from(high) << 32 | u64::from(low), nanos);
            }
        }
    }

    /// Address of the last page fault.
    pub(crate) fn fault_address(&self) -> u64 {
        // SAFETY: the page is mapped; a volatile read of a plain integer.
        unsafe { addr_of!((*self.0).vcpu_info[0].arch.cr2).read_volatile() }
    }

    /// Names the p2m lists to the toolstack.
    pub(super) fn publish_p2m(&self, frame_list_list: Mfn, pages: u64) {
        let page = self.0.cast_mut();
        // SAFETY: the page is mapped writable, and these fields are the
        // guest's to write.
        unsafe {
            addr_of_mut!((*page).arch.pfn_to_mfn_frame_list_list).write_volatile(frame_list_list);
            addr_of_mut!((*page).arch.max_pfn).write_volatile(pages);
        }
    }
}
