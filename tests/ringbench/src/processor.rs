//! Which processor a side runs on: reader and writer each keep to their own,
//! so that runs do not differ by where the scheduler happened to put them.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first and the last processor that this thread may use.
pub(crate) fn two() -> io::Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor));
    let first = processors.next().unwrap_or(0);
    Ok((first, processors.next_back().unwrap_or(first)))
}

/// Keeps the calling thread, and what it starts from now on, on one processor.
pub(crate) fn keep_to(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}
