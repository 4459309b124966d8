//! The guest's memory, in reading order: [`frames`] hands out pages, `pool`
//! keeps the record of them, `elastic` gets memory from Xen and gives it back,
//! `run` is adjacent pages; [`heap`] is the global allocator, made of runs of
//! frames.
//!
//! Nothing here depends on Xen: `pv` implements the trait through which
//! `elastic` gets memory, and [`upkeep`](crate::upkeep) keeps the reserve at
//! its size.

pub(crate) mod elastic;
pub mod frames;
pub mod heap;
mod pool;
pub(crate) mod run;

pub(crate) use pool::BATCH;
