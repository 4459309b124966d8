//! The shared info page (`struct shared_info` in `xen/include/public/xen.h`):
//! pending events, and Xen's record of the time.

use crate::page::Mfn;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use xen_sys::abi;

/// The address at which the page is mapped while the guest runs, from
/// `platform::init` on: the start of the last GiB below 512 GiB, far above any memory
/// that a guest has.
pub(crate) const ADDRESS: usize = 511 << 30;

/// Whether the page is mapped.
static MAPPED: AtomicBool = AtomicBool::new(false);

/// Returns whether the page is mapped. It is not at the very beginning and
/// around a suspend, when nothing may ask for the time.
pub(crate) fn is_mapped() -> bool {
    MAPPED.load(Ordering::Relaxed)
}

/// Records that the page was mapped, or is about to be unmapped.
pub(crate) fn set_mapped(mapped: bool) {
    MAPPED.store(mapped, Ordering::Relaxed);
}

/// Reads a record that Xen may be updating, in which case its version is odd,
/// and differs afterwards. Xen updates it from an interrupt that ends before
/// this vCPU continues, so the loop runs twice at most.
#[inline(always)]
fn consistent<T>(version: impl Fn() -> u32, record: impl Fn() -> T) -> T {
    loop {
        let before = version();
        fence(Ordering::Acquire);
        let record = record();
        fence(Ordering::Acquire);
        if before.is_multiple_of(2) && version() == before {
            return record;
        }
    }
}

/// Access to the shared info page through single reads and atomic bit
/// operations.
pub(crate) struct SharedInfo(*const abi::shared_info);

/// Returns access to the page at its [`ADDRESS`].
pub(crate) const fn shared_info() -> SharedInfo {
    SharedInfo(ADDRESS as *const abi::shared_info)
}

impl SharedInfo {
    fn pending_word(&self, port: u32) -> &AtomicU64 {
        let word = port as usize / 64;
        assert!(word < 64, "port {port} is beyond the 2-level ABI");
        // SAFETY: the page is mapped, see [`ADDRESS`]; the word is aligned,
        // inside the array, and only ever accessed atomically.
        unsafe { AtomicU64::from_ptr(addr_of!((*self.0).evtchn_pending[word]).cast_mut()) }
    }

    /// Returns whether an event is pending on `port`.
    pub(crate) fn is_pending(&self, port: u32) -> bool {
        self.pending_word(port).load(Ordering::Acquire) & (1 << (port % 64)) != 0
    }

    /// Takes the event pending on `port`; returns whether there was one.
    pub(crate) fn take_pending(&self, port: u32) -> bool {
        let bit = 1 << (port % 64);
        self.is_pending(port)
            && self.pending_word(port).fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Returns Xen's record of system time for vCPU 0, in a consistent state.
    pub(crate) fn time(&self) -> abi::vcpu_time_info {
        consistent(
            // SAFETY: the page is mapped; volatile reads of plain integers.
            || unsafe { addr_of!((*self.0).vcpu_info[0].time.version).read_volatile() },
            // SAFETY: as above.
            || unsafe { addr_of!((*self.0).vcpu_info[0].time).read_volatile() },
        )
    }

    /// Returns the Unix time at system time zero, as (seconds, nanoseconds).
    pub(crate) fn wall_clock_base(&self) -> (u64, u32) {
        let (high, low, nanos) = consistent(
            // SAFETY: the page is mapped; volatile reads of plain integers.
            || unsafe { addr_of!((*self.0).wc_version).read_volatile() },
            // SAFETY: as above.
            || unsafe {
                (
                    addr_of!((*self.0).wc_sec_hi).read_volatile(),
                    addr_of!((*self.0).wc_sec).read_volatile(),
                    addr_of!((*self.0).wc_nsec).read_volatile(),
                )
            },
        );
        (u64::from(high) << 32 | u64::from(low), nanos)
    }

    /// Returns the address of the last page fault of a PV guest.
    pub(crate) fn fault_address(&self) -> u64 {
        // SAFETY: the page is mapped; a volatile read of a plain integer.
        unsafe { addr_of!((*self.0).vcpu_info[0].arch.cr2).read_volatile() }
    }

    /// Publishes the p2m lists of a PV guest for the toolstack.
    pub(crate) fn publish_p2m(&self, frame_list_list: Mfn, pages: u64) {
        let page = self.0.cast_mut();
        // SAFETY: the page is mapped writable, and these fields are the
        // guest's to write.
        unsafe {
            addr_of_mut!((*page).arch.pfn_to_mfn_frame_list_list).write_volatile(frame_list_list);
            addr_of_mut!((*page).arch.max_pfn).write_volatile(pages);
        }
    }
}
