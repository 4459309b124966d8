//! The record of the domain's frames, two bits each: whether the frame has
//! memory behind it, and whether it is free.
//!
//! Single frames come from the top of memory, runs for the heap from the
//! bottom, so neither fragments the other. Memory comes and goes in batches,
//! one word of the bitmaps each.

use crate::page::Pfn;
use core::ops::Range;

/// Frames in a batch.
pub(crate) const BATCH: usize = 64;

/// The frames of a domain.
pub(super) struct Pool {
    /// One bit per frame, set if it is resident and unused.
    free: &'static mut [u64],
    /// One bit per frame, set if there is memory behind it.
    resident: &'static mut [u64],
    total: usize,
    free_count: usize,
    resident_count: usize,
}

/// Returns the number of the batch that contains frame `pfn`.
pub(super) const fn batch_of(pfn: Pfn) -> usize {
    pfn / BATCH
}

fn get(bitmap: &[u64], pfn: Pfn) -> bool {
    bitmap[pfn / 64] & (1 << (pfn % 64)) != 0
}

impl Pool {
    /// Makes a pool of `total` frames, none of them resident. Both bitmaps are
    /// all zeros, with a bit for each frame.
    pub(super) fn new(
        total: usize,
        free: &'static mut [u64],
        resident: &'static mut [u64],
    ) -> Self {
        assert!(free.len() >= total.div_ceil(64) && resident.len() >= total.div_ceil(64));
        Self {
            free,
            resident,
            total,
            free_count: 0,
            resident_count: 0,
        }
    }

    /// Returns the number of frames of the domain.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Returns the number of frames that are resident and unused.
    pub(super) fn free(&self) -> usize {
        self.free_count
    }

    /// Returns the number of frames with memory behind them.
    pub(super) fn resident(&self) -> usize {
        self.resident_count
    }

    /// Returns the number of frames without memory.
    pub(super) fn absent(&self) -> usize {
        self.total - self.resident_count
    }

    pub(super) fn is_free(&self, pfn: Pfn) -> bool {
        get(self.free, pfn)
    }

    pub(super) fn is_resident(&self, pfn: Pfn) -> bool {
        get(self.resident, pfn)
    }

    /// Records that the frames of a range have memory behind them now, and
    /// count as used.
    pub(super) fn arrived(&mut self, range: Range<Pfn>) {
        for pfn in range {
            assert!(!self.is_resident(pfn), "frame {pfn:#x} arrived twice");
            self.resident[pfn / 64] |= 1 << (pfn % 64);
            self.resident_count += 1;
        }
    }

    /// Records that free frames have no memory behind them any more.
    pub(super) fn left(&mut self, range: Range<Pfn>) {
        for pfn in range {
            assert!(self.is_free(pfn), "frame {pfn:#x} left while in use");
            self.free[pfn / 64] &= !(1 << (pfn % 64));
            self.free_count -= 1;
            self.resident[pfn / 64] &= !(1 << (pfn % 64));
            self.resident_count -= 1;
        }
    }

    /// Takes used frames back.
    pub(super) fn put(&mut self, range: Range<Pfn>) {
        for pfn in range {
            assert!(
                self.is_resident(pfn) && !self.is_free(pfn),
                "frame {pfn:#x} given back twice"
            );
            self.free[pfn / 64] |= 1 << (pfn % 64);
            self.free_count += 1;
        }
    }

    fn remove(&mut self, range: Range<Pfn>) {
        for pfn in range {
            self.free[pfn / 64] &= !(1 << (pfn % 64));
            self.free_count -= 1;
        }
    }

    /// Takes the highest free frame.
    pub(super) fn take_from_top(&mut self) -> Option<Pfn> {
        self.take_outside(&(0..0))
    }

    /// Takes the highest free frame that is not in `avoided`.
    pub(super) fn take_outside(&mut self, avoided: &Range<Pfn>) -> Option<Pfn> {
        let highest = |below: usize| {
            let word = self.free[..below].iter().rposition(|&word| word != 0)?;
            Some(word * 64 + 63 - self.free[word].leading_zeros() as usize)
        };
        let mut pfn = highest(self.free.len())?;
        if avoided.contains(&pfn) {
            let word = avoided.start / 64;
            let outside = self.free[word] & ((1 << (avoided.start % 64)) - 1);
            pfn = match outside {
                0 => highest(word)?,
                bits => word * 64 + 63 - bits.leading_zeros() as usize,
            };
        }
        self.remove(pfn..pfn + 1);
        Some(pfn)
    }

    /// Takes the lowest run of `count` free frames and returns the first one.
    pub(super) fn take_run(&mut self, count: usize) -> Option<Pfn> {
        let run = self.lowest_run(count, |free, _| free)?;
        self.remove(run.clone());
        Some(run.start)
    }

    /// Returns the lowest run of `count` frames that are free or absent.
    pub(super) fn possible_run(&self, count: usize) -> Option<Range<Pfn>> {
        self.lowest_run(count, |free, resident| free | !resident)
    }

    /// Returns the lowest run of `count` frames whose bits are set in the words
    /// that `usable` computes from those of the two bitmaps, free and resident.
    fn lowest_run(&self, count: usize, usable: fn(u64, u64) -> u64) -> Option<Range<Pfn>> {
        let mut start = 0;
        let mut pfn = 0;
        while pfn < self.total {
            let word = usable(self.free[pfn / 64], self.resident[pfn / 64]);
            if pfn % 64 == 0 && word == 0 {
                pfn += 64;
                start = pfn;
                continue;
            }
            let set = word & (1 << (pfn % 64)) != 0;
            pfn += 1;
            if !set {
                start = pfn;
            } else if pfn - start == count {
                return Some(start..pfn);
            }
        }
        None
    }

    /// Returns the frames of batch number `batch`; the last one may be short.
    fn batch(&self, batch: usize) -> Range<Pfn> {
        batch * BATCH..((batch + 1) * BATCH).min(self.total)
    }

    /// Returns the first run of absent frames in batch number `batch`.
    pub(super) fn absent_in(&self, batch: usize) -> Option<Range<Pfn>> {
        if self.resident[batch] == u64::MAX {
            return None;
        }
        let frames = self.batch(batch);
        let start = frames.clone().find(|&pfn| !self.is_resident(pfn))?;
        let end = (start..frames.end).find(|&pfn| self.is_resident(pfn));
        Some(start..end.unwrap_or(frames.end))
    }

    /// Returns the highest batch with absent frames.
    pub(super) fn highest_absent_batch(&self) -> Option<usize> {
        (0..self.total.div_ceil(BATCH))
            .rev()
            .find(|&batch| self.absent_in(batch).is_some())
    }

    /// Returns a run of at most `most` free frames within one batch: a whole batch
    /// if there is one, or else the first run that is found.
    pub(super) fn free_run(&self, most: usize) -> Option<Range<Pfn>> {
        if most == 0 {
            return None;
        }
        let run = self.free_batch().or_else(|| {
            let batch = self.free.iter().position(|&word| word != 0)?;
            let start = self.batch(batch).find(|&pfn| self.is_free(pfn))?;
            let end = (start..self.batch(batch).end).find(|&pfn| !self.is_free(pfn));
            Some(start..end.unwrap_or(self.batch(batch).end))
        })?;
        Some(run.start..run.end.min(run.start + most))
    }

    /// Returns the batch of free frames that both ends would use last.
    pub(super) fn free_batch(&self) -> Option<Range<Pfn>> {
        let middle = self.total.div_ceil(BATCH) / 2;
        (0..self.total.div_ceil(BATCH))
            .filter(|&batch| {
                let frames = self.batch(batch);
                self.free[batch].count_ones() as usize == frames.len()
            })
            .min_by_key(|batch| batch.abs_diff(middle))
            .map(|batch| self.batch(batch))
    }
}

#[cfg(test)]
pub(in crate::mem) mod tests;
