//! Memory that comes from Xen when it is wanted and goes back when it is not.
//!
//! The guest keeps a reserve of free frames: what it can use while its memory
//! must stay as it is, from the early notice of a migration until it is over.
//! Beyond it frames have no memory behind them. They get it by batches, when
//! an allocation finds nothing free or when the reserve runs low, and lose it
//! again when they have not been wanted for a while.

use super::pool::{BATCH, Pool, batch_of};
use crate::page::Pfn;
use core::ops::Range;

/// Free frames to keep where the command line says nothing: 1 MiB.
pub(super) const DEFAULT_RESERVE: usize = 256;

/// Where memory comes from and goes to. Implementations take nothing from the
/// pool and from the heap: both are locked.
pub(crate) trait Reservation: Sync {
    /// Whether a page table has to be made before frames can be mapped there.
    fn needs_table(&self, at: Pfn) -> bool;

    /// Gives memory to `frames`, which lie within one page table, and maps
    /// them. Where that table has to be made, `table` is the frame for it;
    /// nothing is done to it where no frame gets memory.
    ///
    /// Returns how many got memory, the first ones of the range.
    fn populate(&self, frames: Range<Pfn>, table: Option<Pfn>) -> usize;

    /// Takes the memory of free `frames` away, which lie within one page table.
    ///
    /// Returns how many lost it, the first ones of the range.
    fn release(&self, frames: Range<Pfn>) -> usize;
}

/// Says whether the domain's memory may change now; see
/// [`set_gate`](super::frames::set_gate).
pub type Gate = fn() -> bool;

/// What has become of attempts to get memory, since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that got memory.
    pub populated: u64,
    /// Frames that were given back, at boot included.
    pub released: u64,
    /// Attempts that Xen refused in whole or in part: the host or the
    /// domain's limit has no more.
    pub failed: u64,
    /// Attempts that were not made, because the memory must stay as it is.
    pub withheld: u64,
}

/// The pool with its way to Xen.
pub(crate) struct Elastic {
    pub(super) pool: Pool,
    reservation: &'static dyn Reservation,
    pub(super) gate: Gate,
    /// Free frames to keep resident.
    pub(super) reserve: usize,
    /// Frames to keep resident in all, used or free.
    pub(super) floor: usize,
    /// The frame for the next page table, while tables are missing: a table
    /// must not have to wait for the memory that it is to map.
    spare: Option<Pfn>,
    /// Page tables that are missing, to map all of the domain's frames.
    missing_tables: usize,
    pub(crate) counters: Counters,
    /// Fewest free frames since [`begin_watch`](Self::begin_watch).
    least_free: usize,
}

impl Elastic {
    /// Makes the pool elastic; `missing_tables` page tables are to be made
    /// before all of its frames can be mapped.
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
            spare: None,
            missing_tables,
            counters: Counters::default(),
        };
        elastic.refill_spare(&(0..0));
        elastic
    }

    /// Frames that nobody uses, those that can be had from Xen included.
    pub(super) fn available(&self) -> usize {
        let tables = self.missing_tables - usize::from(self.spare.is_some());
        (self.pool.free() + self.pool.absent()).saturating_sub(tables)
    }

    /// Takes a single frame.
    pub(super) fn take_single(&mut self) -> Option<Pfn> {
        let pfn = match self.pool.take_from_top() {
            Some(pfn) => pfn,
            None => {
                self.grow_top();
                self.pool.take_from_top()?
            }
        };
        self.least_free = self.least_free.min(self.pool.free());
        Some(pfn)
    }

    /// Takes `count` adjacent frames and leaves `keep` free ones.
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

    /// Gets a batch for single frames, in the highest place.
    pub(crate) fn grow_top(&mut self) -> bool {
        self.pool
            .highest_absent_batch()
            .is_some_and(|batch| self.populate(batch, &(0..0)))
    }

    /// Gets what the lowest possible run of `count` frames wants.
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

    /// Free frames that the floor asks for.
    fn free_for_floor(&self) -> usize {
        let used = self.pool.resident() - self.pool.free();
        self.floor.saturating_sub(used)
    }

    /// Whether there is less free memory than wanted, and more to be had.
    pub(crate) fn is_low(&self) -> bool {
        self.pool.free() < self.reserve.max(self.free_for_floor()) && self.pool.absent() > 0
    }

    /// Sees to it that there is a frame for the next page table, from outside
    /// of `avoided`.
    fn refill_spare(&mut self, avoided: &Range<Pfn>) {
        if self.spare.is_none() && self.missing_tables > 0 {
            self.spare = self.pool.take_outside(avoided);
        }
    }

    /// Gets memory for the absent frames of a batch, where `wanted` is going
    /// to be used as a whole. True where all of those that adjoin first got it.
    fn populate(&mut self, batch: usize, wanted: &Range<Pfn>) -> bool {
        let Some(absent) = self.pool.absent_in(batch) else {
            return true;
        };
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
        }
        count == absent.len()
    }

    /// Gives memory back at boot, or frames that were free all the time.
    fn release(&mut self, frames: Range<Pfn>) -> usize {
        let count = self.reservation.release(frames.clone());
        assert!(count <= frames.len(), "more memory left than was there");
        self.pool.left(frames.start..frames.start + count);
        self.counters.released += count as u64;
        count
    }

    /// Free frames above which memory is given back, if it stays unused.
    fn plenty(&self) -> usize {
        (self.reserve + self.reserve / 2).max(self.free_for_floor()) + BATCH
    }

    /// Whether so much is free that it is worth a look whether it is wanted.
    pub(crate) fn has_plenty(&self) -> bool {
        self.pool.free() >= self.plenty() + BATCH && self.pool.free_batch().is_some()
    }

    /// Begins to note how much free memory is not wanted.
    pub(crate) fn begin_watch(&mut self) {
        self.least_free = self.pool.free();
    }

    /// Gives back one batch of what was never wanted since
    /// [`begin_watch`](Self::begin_watch); false where there is no more.
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
