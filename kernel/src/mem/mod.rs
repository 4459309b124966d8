//! The guest's memory, in the order in which to read it: [`frames`] hands out
//! pages, `pool` is its record of them, `elastic` gets memory from Xen and
//! gives it back, `run` is adjacent pages, `upkeep` keeps a reserve at hand; [`heap`] makes the global
//! allocator out of runs of frames.

pub(crate) mod elastic;
pub mod frames;
pub mod heap;
mod pool;
pub(crate) mod run;
pub(crate) mod upkeep;

pub(crate) use pool::BATCH;
