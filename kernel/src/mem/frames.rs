//! The pool of page frames.
//!
//! [`Pool`] keeps the record; [`Elastic`] gets memory for more frames from Xen
//! and gives it back.
//!
//! In a host process, where no domain builder filled the pool, frames come from
//! the process's own allocator, so that code above the kernel can be tested
//! there.

pub use super::elastic::{Counters, Gate};
use super::elastic::{Elastic, Reservation};
use super::pool::Pool;
use crate::page::{PAGE_SIZE, Pfn};
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use spin::Mutex;

/// No frame, or no run of frames long enough, is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory: give the domain more, or lower the limits on its command line")
    }
}

impl core::error::Error for OutOfMemory {}

/// Frames that large allocations, and single frames, leave free: whoever wants
/// them can handle a failure, and a small allocation cannot.
pub(super) const KEEP_FOR_SMALL: usize = 64;

static POOL: Mutex<Option<Elastic>> = Mutex::new(None);

/// Figures of the pool, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Frames of the domain, with or without memory behind them.
    pub total: usize,
    /// Unused frames that can be had, those that are kept for small allocations
    /// not counted. If the host has no more memory, there are fewer.
    pub free: usize,
    /// Frames with memory behind them.
    pub resident: usize,
    /// Free frames that are resident.
    pub at_hand: usize,
}

/// Returns how full the pool is; zeros outside a guest, where there is none.
#[must_use]
pub fn usage() -> Usage {
    with(|elastic| Usage {
        total: elastic.pool.total(),
        free: elastic.available().saturating_sub(KEEP_FOR_SMALL),
        resident: elastic.pool.resident(),
        at_hand: elastic.pool.free().saturating_sub(KEEP_FOR_SMALL),
    })
    .unwrap_or(Usage {
        total: 0,
        free: 0,
        resident: 0,
        at_hand: 0,
    })
}

/// Returns the outcome of attempts to get memory from Xen; zeros outside a
/// guest.
#[must_use]
pub fn counters() -> Counters {
    with(|elastic| elastic.counters).unwrap_or_default()
}

/// Runs `action` on the pool; returns `None` outside a guest, where there is
/// none.
pub(crate) fn with<T>(action: impl FnOnce(&mut Elastic) -> T) -> Option<T> {
    POOL.lock().as_mut().map(action)
}

/// Sets the function that decides whether the domain's memory may change now,
/// and returns the previous one; `None` outside a guest. It is called before
/// each change, while pool and heap are locked, so it must not allocate, log or
/// take frames.
pub fn set_gate(gate: Gate) -> Option<Gate> {
    with(|elastic| core::mem::replace(&mut elastic.gate, gate))
}

/// Sets how many free frames to keep resident.
pub(crate) fn set_reserve(frames: usize) {
    with(|elastic| elastic.reserve = frames);
}

/// Returns how many frames the records of `total` frames take.
pub(crate) fn bookkeeping(total: usize) -> usize {
    (2 * total.div_ceil(64) * 8).div_ceil(PAGE_SIZE)
}

/// Starts the pool of a domain of `total` frames. The frames of `mapped` that
/// are in no range of `used` are free at first; the pool's bitmaps take the
/// frames behind the last used one. Other frames get their memory from
/// `reservation`, which lacks `missing_tables` page tables to map them all. At
/// least `floor` frames stay resident.
pub(crate) fn init(
    total: usize,
    mapped: Range<Pfn>,
    used: &[Range<Pfn>],
    reservation: &'static dyn Reservation,
    missing_tables: usize,
    floor: usize,
) {
    let words = total.div_ceil(64);
    let start = used
        .iter()
        .map(|range| range.end)
        .max()
        .unwrap_or(mapped.start);
    let bitmaps = start..start + bookkeeping(total);
    assert!(
        bitmaps.end <= mapped.end,
        "too much memory for Xen's initial mapping"
    );
    // SAFETY: these frames are mapped and lie behind everything that the domain
    // builder placed; they are left out of the pool below.
    let (free, resident) = unsafe {
        let base = (bitmaps.start * PAGE_SIZE) as *mut u64;
        base.write_bytes(0, 2 * words);
        core::slice::from_raw_parts_mut(base, 2 * words).split_at_mut(words)
    };
    let mut pool = Pool::new(total, free, resident);
    pool.arrived(0..mapped.end);
    for pfn in mapped {
        if !bitmaps.contains(&pfn) && !used.iter().any(|range| range.contains(&pfn)) {
            pool.put(pfn..pfn + 1);
        }
    }
    let mut elastic = Elastic::new(pool, reservation, missing_tables);
    elastic.floor = floor;
    *POOL.lock() = Some(elastic);
}

/// Takes `count` adjacent frames for the heap, permanently, if that leaves
/// `keep` free ones.
pub(crate) fn take_run(count: usize, keep: usize) -> Option<Pfn> {
    with(|elastic| elastic.take_run(count, keep))?
}

const LAYOUT: Layout = match Layout::from_size_align(PAGE_SIZE, PAGE_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a valid layout"),
};

/// A page owned by its holder alone; given back when dropped.
#[derive(Debug)]
pub struct Frame(NonNull<u8>);

/// Takes a page and fills it with zeros.
///
/// # Errors
/// [`OutOfMemory`] if no frame is free.
pub fn take_zeroed() -> Result<Frame, OutOfMemory> {
    let pfn = match with(|elastic| elastic.take_single(KEEP_FOR_SMALL)) {
        Some(pfn) => pfn.ok_or(OutOfMemory)?,
        None => {
            // SAFETY: the layout is not empty.
            let page = unsafe { alloc_zeroed(LAYOUT) };
            return NonNull::new(page).map(Frame).ok_or(OutOfMemory);
        }
    };
    let page = NonNull::new((pfn * PAGE_SIZE) as *mut u8).expect("frame 0 is not in the pool");
    // SAFETY: a free frame is mapped at its own address and in no other use.
    unsafe { page.write_bytes(0, PAGE_SIZE) };
    Ok(Frame(page))
}

impl Frame {
    /// Returns the frame's number.
    #[must_use]
    pub fn pfn(&self) -> Pfn {
        self.0.as_ptr() as usize / PAGE_SIZE
    }

    /// Returns the address of the page.
    pub(crate) fn address(&self) -> NonNull<u8> {
        self.0
    }

    /// Writes 64-bit word `index` of the page.
    pub(crate) fn write_entry(&self, index: usize, value: u64) {
        assert!(index < PAGE_SIZE / 8);
        // SAFETY: inside the page, which this value alone owns.
        unsafe { self.0.cast::<u64>().add(index).write_volatile(value) };
    }

    /// Never gives the page back, because it has become part of a structure
    /// that lives as long as the domain.
    pub(crate) fn keep_for_ever(self) {
        core::mem::forget(self);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if with(|elastic| elastic.pool.put(self.pfn()..self.pfn() + 1)).is_some() {
            return;
        }
        // SAFETY: without a pool the page came from the allocator, with this
        // layout (`take_zeroed`).
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}
