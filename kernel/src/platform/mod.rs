//! What differs between the kinds of guest: how the image starts, its page tables
//! and the frames behind its memory, how foreign pages are mapped, how it suspends.
//!
//! One image runs as a PV guest and as a PVH guest. Xen's domain builder enters it
//! at one of two entry points (`boot`), which say what kind it is; [`kind`] keeps
//! that. Nothing above this module asks: it calls the functions here, each of which
//! goes to [`pv`] or [`pvh`] by a branch that never changes.
//!
//! In reading order: `image` (the layout of the image), `hypercall`, `table` (a walk
//! over page tables), `reservation` (memory that comes and goes), `slot_map` and `window` (where foreign pages
//! are mapped), `trap`, `cpuid` and `vector` are common; `pv` and `pvh` are the
//! kinds.

mod cpuid;
mod hypercall;
mod image;
mod pv;
mod pvh;
mod reservation;
mod slot_map;
mod table;
mod trap;
mod vector;
pub(crate) mod window;

pub(crate) use cpuid::has_rdrand;
pub(crate) use trap::look as look_for_nmi;

use crate::mem::frames;
use crate::page::{Mfn, PAGE_SIZE, Pfn};
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use reservation::OwnReservation;

/// What Xen runs the image as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A paravirtual guest in ring 3, whose page tables Xen checks.
    Pv,
    /// A guest with the processor's virtualisation, without emulated devices.
    Pvh,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pv => "PV",
            Self::Pvh => "PVH",
        })
    }
}

/// Whether this is a PVH guest. Set before anything else runs.
static IS_PVH: AtomicBool = AtomicBool::new(false);

/// Returns the guest's kind. In a host process it is PV, and nothing depends on it.
#[must_use]
#[inline(always)]
pub fn kind() -> Kind {
    if IS_PVH.load(Ordering::Relaxed) {
        Kind::Pvh
    } else {
        Kind::Pv
    }
}

/// The event channels that the domain builder makes.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// Of the console ring.
    pub(crate) console: u32,
    /// Of the xenstore ring.
    pub(crate) store: u32,
}

/// What the domain builder hands over.
#[derive(Clone, Copy)]
pub(crate) struct Handover {
    /// The address of the console ring's page.
    pub(crate) console: usize,
    /// The address of the xenstore ring's page.
    pub(crate) store: usize,
    /// Their event channels.
    pub(crate) ports: Ports,
    /// The command line, or `None` if it is not UTF-8.
    pub(crate) command_line: Option<&'static str>,
}

/// How the hypercall of a suspend returned.
pub(crate) enum Returned {
    /// The domain is the same: nothing has changed.
    Cancelled,
    /// The domain is a new one. Its memory is as it was; event channels, grants and
    /// everything registered with Xen are gone.
    NewDomain(Ports),
}

/// Says what the domain builder hands over, and makes hypercalls and the pages of
/// the two rings usable.
///
/// # Safety
/// Runs once, before anything else; `kind` and `start_info` are what `boot` passed.
pub(crate) unsafe fn enter(kind: u32, start_info: usize) -> Handover {
    IS_PVH.store(kind != PV_ENTRY, Ordering::Relaxed);
    // SAFETY: the caller's promise.
    unsafe {
        match self::kind() {
            Kind::Pv => pv::enter(start_info),
            Kind::Pvh => pvh::enter(start_info),
        }
    }
}

/// How `boot` says that the image was entered as a PV guest (`boot::entry::PV`).
const PV_ENTRY: u32 = 0;

/// Initialises the guest: traps, the frame pool, shared info; unmaps page 0 and the
/// page below the stack, and gives the memory that the guest does not need at first
/// back to Xen.
///
/// # Safety
/// Runs once, after [`enter`].
pub(crate) unsafe fn init() {
    // SAFETY: the caller's promise.
    unsafe {
        match kind() {
            Kind::Pv => pv::init(),
            Kind::Pvh => pvh::init(),
        }
    }
}

/// Returns the number by which Xen, and so a grant, names the frame `pfn`.
///
/// # Panics
/// If `pfn` is not a frame of this domain, or, in a PV guest, has no memory: a bug in
/// the caller.
#[inline]
pub(crate) fn machine_frame(pfn: Pfn) -> Mfn {
    match kind() {
        Kind::Pv => pv::machine_frame(pfn),
        Kind::Pvh => pfn as Mfn,
    }
}

/// Returns the event channels of the domain builder's rings in the current domain.
fn ports() -> Ports {
    match kind() {
        Kind::Pv => pv::ports(),
        Kind::Pvh => pvh::ports(),
    }
}

/// Returns the event channel of the console ring in the current domain.
pub(crate) fn console_port() -> u32 {
    ports().console
}

/// Suspends the domain and returns when it continues. If the hypercall returns
/// 0, which can mean either outcome, `is_same_domain` decides; it gets the
/// ports that the domain builder's rings have then.
///
/// # Panics
/// If a page of another domain is still mapped, which is a bug in the part that
/// mapped it.
pub(crate) fn suspend(is_same_domain: impl FnOnce(Ports) -> bool) -> Returned {
    let result = match kind() {
        Kind::Pv => pv::suspend(),
        Kind::Pvh => pvh::suspend(),
    };
    let ports = ports();
    match result {
        Ok(0) if is_same_domain(ports) => Returned::Cancelled,
        Ok(0) => {
            match kind() {
                Kind::Pv => pv::settle_in(),
                Kind::Pvh => pvh::settle_in(),
            }
            Returned::NewDomain(ports)
        }
        Ok(_) => Returned::Cancelled,
        Err(error) => {
            log::error!("lifecycle: Xen refused the suspend: {error}");
            Returned::Cancelled
        }
    }
}

/// The address of the last page fault.
fn fault_address() -> u64 {
    match kind() {
        Kind::Pv => crate::shared_info::shared_info().fault_address(),
        Kind::Pvh => pvh::fault_address(),
    }
}

/// Returns how many free frames a domain of `total` frames needs before it can get memory back from
/// Xen: for tables, for the lists that name the p2m list, for the first allocations.
fn frames_for_boot(total: usize) -> usize {
    const SMALL: usize = 96;
    const PER_TABLE: usize = table::ENTRIES * table::ENTRIES;
    SMALL + 2 * total.div_ceil(PER_TABLE)
}

/// Starts the frame pool of a domain of `total` frames with the `mapped` first ones, those in
/// `used` excepted; `floor` frames stay resident.
fn start_pool(total: usize, mapped: Pfn, used: &[Range<Pfn>], floor: usize) {
    // Frame 0 stays unused, so that a null pointer faults.
    let missing = table::missing_leaf_tables(mapped..total);
    frames::init(total, 1..mapped, used, &OwnReservation, missing, floor);
}

/// Returns the frame of an address.
const fn frame_at(address: usize) -> Pfn {
    address / PAGE_SIZE
}
