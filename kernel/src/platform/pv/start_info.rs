//! The start-of-day page (`struct start_info` in `xen/include/public/xen.h`).

use super::p2m;
use crate::page::{Mfn, PAGE_SIZE, Pfn};
use crate::platform::Ports;
use core::ffi::CStr;
use core::ops::Range;
use core::ptr::{addr_of, addr_of_mut};
use spin::Once;
use xen_sys::abi;

/// The start-of-day page. Fields are read afresh each time, because the
/// toolstack rewrites the page when the domain is restored.
#[derive(Clone, Copy)]
pub(crate) struct StartInfo(*const abi::start_info);

/// Reads one field by value, never through a reference.
macro_rules! field {
    ($info:expr, $($path:tt)+) => {
        // SAFETY: `StartInfo::new` promised a start_info page; the field lies
        // within it, and Xen changes it only while the domain is suspended.
        unsafe { addr_of!((*$info.0).$($path)+).read_volatile() }
    };
}

impl StartInfo {
    /// # Safety
    /// `address` is what Xen's domain builder passed in RSI.
    pub(crate) const unsafe fn new(address: usize) -> Self {
        Self(address as *const abi::start_info)
    }

    /// Returns how many pages belong to the domain.
    pub(crate) fn pages(self) -> usize {
        field!(self, nr_pages) as usize
    }

    /// Returns the machine address of the shared info page.
    pub(crate) fn shared_info_machine_address(self) -> u64 {
        field!(self, shared_info)
    }

    /// Returns the frame of this page itself.
    pub(crate) fn own_frame(self) -> Pfn {
        self.0 as usize / PAGE_SIZE
    }

    /// Returns the frame of the xenstore ring.
    pub(crate) fn store_frame(self) -> Pfn {
        p2m::pseudo_physical_frame(field!(self, store_mfn))
    }

    /// Returns the event channel of the xenstore ring.
    fn store_port(self) -> u32 {
        field!(self, store_evtchn)
    }

    /// Returns the frame of the console ring.
    pub(crate) fn console_frame(self) -> Pfn {
        p2m::pseudo_physical_frame(field!(self, console.domU.mfn))
    }

    /// Returns the event channel of the console ring.
    fn console_port(self) -> u32 {
        field!(self, console.domU.evtchn)
    }

    /// Names the rings of xenstore and console by pseudo-physical frame
    /// numbers, as the toolstack expects in a suspended domain
    /// (`tools/libs/guest/xg_sr_restore_x86_pv.c:process_start_info`).
    pub(super) fn name_rings_by_frame(self) {
        let (store, console) = (self.store_frame(), self.console_frame());
        self.set_rings(store as u64, console as u64);
    }

    /// Reverts that in a domain whose suspend was cancelled.
    pub(super) fn name_rings_by_machine_frame(self) {
        let own = |frame: u64| p2m::machine_frame(frame as Pfn);
        let (store, console) = (field!(self, store_mfn), field!(self, console.domU.mfn));
        self.set_rings(own(store), own(console));
    }

    fn set_rings(self, store: u64, console: u64) {
        let page = self.0.cast_mut();
        // SAFETY: as for reading; the page is the guest's own, mapped writable
        // by the domain builder, and nothing else reads it while the guest
        // runs.
        unsafe {
            addr_of_mut!((*page).store_mfn).write_volatile(store);
            addr_of_mut!((*page).console.domU.mfn).write_volatile(console);
        }
    }

    /// Returns the event channels of the two rings.
    pub(crate) fn ports(self) -> Ports {
        Ports {
            console: self.console_port(),
            store: self.store_port(),
        }
    }

    /// Returns the address of the p2m list, which has one machine frame number
    /// per page.
    pub(crate) fn p2m_list(self) -> *mut Mfn {
        field!(self, mfn_list) as *mut Mfn
    }

    /// Returns the frames of the p2m list.
    pub(crate) fn p2m_frames(self) -> Range<Pfn> {
        let first = self.p2m_list() as usize / PAGE_SIZE;
        first..first + (self.pages() * size_of::<Mfn>()).div_ceil(PAGE_SIZE)
    }

    /// Returns the address of the top-level page table.
    pub(crate) fn page_table_base(self) -> usize {
        field!(self, pt_base) as usize
    }

    /// Returns the frames of the initial page tables.
    pub(crate) fn page_table_frames(self) -> Range<Pfn> {
        let first = self.page_table_base() / PAGE_SIZE;
        first..first + field!(self, nr_pt_frames) as usize
    }

    /// Returns the command line, `extra` in the domain's configuration, or
    /// `None` if it is not UTF-8.
    pub(crate) fn command_line(self) -> Option<&'static str> {
        // SAFETY: the array lies in the start_info page, which stays mapped,
        // and does not change after the domain was built.
        let bytes: &'static [u8] =
            unsafe { core::slice::from_raw_parts(addr_of!((*self.0).cmd_line).cast::<u8>(), 1024) };
        CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()
    }
}

// SAFETY: the page is read and written by value only, by a guest with one vCPU.
unsafe impl Send for StartInfo {}
// SAFETY: as above.
unsafe impl Sync for StartInfo {}

static START_INFO: Once<StartInfo> = Once::new();

/// Remembers the page for [`start_info`].
pub(super) fn remember(info: StartInfo) {
    START_INFO.call_once(|| info);
}

/// Returns the page with which the domain was started.
pub(super) fn start_info() -> StartInfo {
    *START_INFO.get().expect("remembered before anything else")
}
