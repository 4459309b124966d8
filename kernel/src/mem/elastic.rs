//! Memory that is taken from Xen on demand and given back when unused.
//!
//! The guest keeps a reserve of free frames, to live on while its memory must
//! not change: from the early notice of a migration until the migration is
//! over. Frames beyond the reserve have no memory behind them. They get it in
//! batches, when an allocation finds nothing free or the reserve runs low, and
//! lose it again after they have been unused for a while.
//!
//! How much the domain may have changes while it runs: the toolstack sets a
//! target (`xl mem-set`), and Xen enforces a limit near it. Frames beyond
//! either are not counted as free.

use super::pool::{BATCH, Pool, batch_of};
use crate::page::Pfn;
use core::ops::Range;

/// Free frames to keep by default: 1 MiB.
pub(super) const DEFAULT_RESERVE: usize = 256;

/// The source of memory. Implementations must not take anything from the pool
/// or the heap: both are locked during a call.
pub(crate) trait Reservation: Sync {
    /// Returns whether a page table is missing to map frame `at`.
    fn needs_table(&self, at: Pfn) -> bool;

    /// Gives memory to `frames`, which lie within one page table, and maps
    /// them. If that table is missing, `table` is the frame to make it of; it
    /// is left alone if no frame gets memory.
    ///
    /// Returns how many frames got memory, counted from the start of the range.
    fn populate(&self, frames: Range<Pfn>, table: Option<Pfn>) -> usize;

    /// Takes away the memory of free `frames`, which lie within one page table.
    ///
    /// Returns how many frames lost it, counted from the start of the range.
    fn release(&self, frames: Range<Pfn>) -> usize;

    /// Returns how many more frames Xen lets this domain have, if the host has
    /// them.
    fn allowance(&self) -> usize;
}

/// Free frames that the guest keeps however small the target is: it could not
/// answer anybody without them.
const LEAST_FREE: usize = 128;

/// Returns whether the domain's memory may change now; see
/// [`set_gate`](super::frames::set_gate).
pub type Gate = fn() -> bool;

/// The outcome of attempts to change the domain's memory, since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that got memory.
    pub populated: u64,
    /// Frames that were given back, including at boot.
    pub released: u64,
    /// Attempts that Xen refused in whole or in part, because the host has no
    /// more memory or the domain is at its limit.
    pub failed: u64,
    /// Attempts that were not made, because the memory must not change.
    pub withheld: u64,
}

/// The pool, and the source that it gets memory from.
pub(crate) struct Elastic {
    pub(super) pool: Pool,
    reservation: &'static dyn Reservation,
    pub(super) gate: Gate,
    /// Free frames to keep resident.
    pub(super) reserve: usize,
    /// Frames to keep resident in total, used or free.
    pub(super) floor: usize,
    /// Frames that the toolstack wants the domain to have at most.
    target: usize,
    /// Frames that Xen grants the domain, as far as is known.
    granted: usize,
    /// A frame kept for the next page table while tables are missing, because
    /// making a table must not depend on the memory that it is to map.
    spare: Option<Pfn>,
    /// How many page tables are missing to map all of the domain's frames.
    missing_tables: usize,
    pub(crate) counters: Counters,
    /// Fewest free frames since [`begin_watch`](Self::begin_watch).
    least_free: usize,
}

impl Elastic {
    /// Makes the pool elastic; `missing_tables` page tables are still missing
    /// to map all of its frames.
    pub(super) fn new(
        pool: Pool,
        reservation: &'static dyn Reservation,
        missing_tables: usize,
    ) -> Self {
        let mut elastic = Self {
            least_free: pool.free(),
            pool,
            reservation,
            gate: || true,
            reserve: DEFAULT_RESERVE,
            floor: 0,
            target: usize::MAX,
            granted: usize::MAX,
            spare: None,
            missing_tables,
            counters: Counters::default(),
        };
        elastic.refill_spare(&(0..0));
        elastic
    }

    /// Returns the number of unused frames, including those still to be had
    /// from Xen.
    pub(super) fn available(&self) -> usize {
        let tables = self.missing_tables - usize::from(self.spare.is_some());
        let allowed = self.limit().min(self.granted);
        let to_be_had = allowed
            .saturating_sub(self.pool.resident())
            .min(self.pool.absent());
        (self.pool.free() + to_be_had).saturating_sub(tables)
    }

    /// Returns a frame without memory.
    pub(crate) fn some_absent(&self) -> Option<Pfn> {
        let batch = self.pool.highest_absent_batch()?;
        Some(self.pool.absent_in(batch)?.start)
    }

    /// Returns how many frames may be resident: the target, but no less than a
    /// migration needs.
    fn limit(&self) -> usize {
        self.target.max(self.floor)
    }

    /// Takes a single frame, if that leaves `keep` free ones.
    pub(super) fn take_single(&mut self, keep: usize) -> Option<Pfn> {
        if self.pool.free() <= keep {
            self.grow_top();
        }
        if self.pool.free() <= keep {
            return None;
        }
        let pfn = self.pool.take_from_top()?;
        self.least_free = self.least_free.min(self.pool.free());
        Some(pfn)
    }

    /// Takes `count` adjacent frames, if that leaves `keep` free ones.
    pub(super) fn take_run(&mut self, count: usize, keep: usize) -> Option<Pfn> {
        let mut run = None;
        if self.pool.free() >= count + keep {
            run = self.pool.take_run(count);
        }
        if run.is_none() && self.grow_run(count) && self.pool.free() >= count + keep {
            run = self.pool.take_run(count);
        }
        self.refill_spare(&(0..0));
        self.least_free = self.least_free.min(self.pool.free());
        run
    }

    /// Gets memory for the highest absent batch, for single frames; returns
    /// true if all of it got memory.
    pub(crate) fn grow_top(&mut self) -> bool {
        self.pool
            .highest_absent_batch()
            .is_some_and(|batch| self.populate(batch, &(0..0)))
    }

    /// Gets the memory that the lowest possible run of `count` frames lacks;
    /// returns false if some is not to be had.
    fn grow_run(&mut self, count: usize) -> bool {
        let Some(run) = self.pool.possible_run(count) else {
            return false;
        };
        for batch in batch_of(run.start)..=batch_of(run.end - 1) {
            let wanted = |pool: &Pool| {
                let absent = pool.absent_in(batch)?;
                (absent.start < run.end && absent.end > run.start).then_some(())
            };
            while wanted(&self.pool).is_some() {
                if !self.populate(batch, &run) {
                    return false;
                }
            }
        }
        true
    }

    /// Returns how many free frames the floor requires.
    fn free_for_floor(&self) -> usize {
        let used = self.pool.resident() - self.pool.free();
        self.floor.saturating_sub(used)
    }

    /// Returns whether there is less free memory than wanted, and frames that
    /// could get some.
    pub(crate) fn is_low(&self) -> bool {
        self.pool.free() < self.reserve.max(self.free_for_floor())
            && self.pool.absent() > 0
            && self.pool.resident() < self.limit()
    }

    /// Follows the toolstack: the domain is to have `target` frames at most.
    /// Returns how many it needs, which may be more.
    pub(crate) fn set_target(&mut self, target: usize) -> usize {
        self.target = target;
        self.ask_allowance();
        let used = self.pool.resident() - self.pool.free();
        (used + LEAST_FREE).max(self.floor).min(self.pool.total())
    }

    /// Asks Xen how much the domain may have.
    fn ask_allowance(&mut self) {
        let allowance = self.reservation.allowance();
        self.granted = self.pool.resident().saturating_add(allowance);
    }

    /// Returns how many free frames the domain has beyond its target.
    fn excess(&self) -> usize {
        let above = self.pool.resident().saturating_sub(self.limit());
        above.min(self.pool.free().saturating_sub(LEAST_FREE))
    }

    /// Returns whether there is memory to give back because of the target.
    pub(crate) fn is_above_target(&self) -> bool {
        self.excess() > 0
    }

    /// Gives back one batch of memory, or a part of one, because of the target;
    /// returns false if that is not possible now.
    pub(crate) fn release_excess(&mut self) -> bool {
        let Some(frames) = self.pool.free_run(self.excess()) else {
            return false;
        };
        if !(self.gate)() {
            self.counters.withheld += 1;
            return false;
        }
        let whole = frames.len();
        let count = self.release(frames);
        self.least_free = self.least_free.min(self.pool.free());
        count == whole
    }

    /// Keeps a frame for the next page table, from outside `avoided`.
    fn refill_spare(&mut self, avoided: &Range<Pfn>) {
        if self.spare.is_none() && self.missing_tables > 0 {
            self.spare = self.pool.take_outside(avoided);
        }
    }

    /// Gets memory for the first adjoining absent frames of a batch, while
    /// `wanted` is about to be used as a whole. Returns true if all of them got
    /// it.
    fn populate(&mut self, batch: usize, wanted: &Range<Pfn>) -> bool {
        let Some(mut absent) = self.pool.absent_in(batch) else {
            return true;
        };
        let room = self.limit().saturating_sub(self.pool.resident());
        let is_short = room < absent.len();
        absent.end = absent.end.min(absent.start.saturating_add(room));
        if absent.is_empty() {
            return false;
        }
        let table = if self.reservation.needs_table(absent.start) {
            self.refill_spare(wanted);
            if self.spare.is_none() {
                return false;
            }
            self.spare
        } else {
            None
        };
        if !(self.gate)() {
            self.counters.withheld += 1;
            return false;
        }
        let count = self.reservation.populate(absent.clone(), table);
        assert!(count <= absent.len(), "more memory than asked for");
        let came = absent.start..absent.start + count;
        self.counters.populated += count as u64;
        self.pool.arrived(came.clone());
        self.pool.put(came);
        if table.is_some() && count > 0 {
            self.missing_tables -= 1;
            self.spare = None;
            self.refill_spare(wanted);
        }
        if count < absent.len() {
            self.counters.failed += 1;
            self.granted = self.pool.resident();
        } else if self.pool.resident() >= self.granted {
            self.ask_allowance();
        }
        count == absent.len() && !is_short
    }

    /// Gives the memory of free frames back and returns of how many.
    fn release(&mut self, frames: Range<Pfn>) -> usize {
        let count = self.reservation.release(frames.clone());
        assert!(count <= frames.len(), "more memory left than was there");
        self.pool.left(frames.start..frames.start + count);
        self.counters.released += count as u64;
        count
    }

    /// Returns the number of free frames above which memory is given back if it
    /// stays unused: a batch more than below which it is fetched.
    fn plenty(&self) -> usize {
        self.reserve.max(self.free_for_floor()) + BATCH
    }

    /// Returns whether enough is free to consider returning some.
    pub(crate) fn has_plenty(&self) -> bool {
        self.pool.free() >= self.plenty() + BATCH && self.pool.free_batch().is_some()
    }

    /// Starts observing how much free memory stays unused.
    pub(crate) fn begin_watch(&mut self) {
        self.least_free = self.pool.free();
    }

    /// Gives back one batch of memory that was never used since
    /// [`begin_watch`](Self::begin_watch); returns false if there is no more.
    pub(crate) fn release_unused(&mut self) -> bool {
        if self.least_free < self.plenty() + BATCH {
            return false;
        }
        let Some(frames) = self.pool.free_batch() else {
            return false;
        };
        if !(self.gate)() {
            self.counters.withheld += 1;
            return false;
        }
        let whole = frames.len();
        let count = self.release(frames);
        self.least_free -= count;
        count == whole
    }
}

#[cfg(test)]
mod tests;
