//! The guest's memory: [`frames`] hands out pages, [`heap`] makes the global
//! allocator out of them.

pub mod frames;
pub mod heap;
