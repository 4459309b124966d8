//! The guest's memory, in the order in which to read it: [`frames`] hands out
//! pages, `pool` is its record of them, `elastic` gets memory from Xen and
//! gives it back, `run` is adjacent pages; [`heap`] makes the global allocator
//! out of runs of frames.
//!
//! Nothing here knows Xen: `pv` implements the trait by which `elastic` asks for
//! memory, and [`upkeep`](crate::upkeep) keeps the reserve at its size.

pub(crate) mod elastic;
pub mod frames;
pub mod heap;
mod pool;
pub(crate) mod run;

pub(crate) use pool::BATCH;
