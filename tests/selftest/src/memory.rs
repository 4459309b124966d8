//! The heap and the frame pool, up to exhaustion.

use crate::{Bench, Outcome, ensure};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use kernel::mem::frames;
use kernel::shared::SharedPage;

pub(crate) async fn the_heap_keeps_what_it_holds(_: Bench) -> Outcome {
    let mut held: VecDeque<(Vec<u8>, u8)> = VecDeque::new();
    let mut seed = 1u32;
    for _ in 0..20_000 {
        // A linear congruential sequence (Numerical Recipes) is random enough.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = 1 + (seed >> 8) as usize % 3000;
        let mark = (seed >> 24) as u8;
        held.push_back((vec![mark; size], mark));
        if held.len() > 300
            && let Some((bytes, mark)) = held.pop_front()
        {
            ensure!(
                bytes.iter().all(|&byte| byte == mark),
                "{} bytes changed",
                bytes.len()
            );
        }
    }
    Ok(())
}

pub(crate) async fn exhaustion_is_an_error_and_passes(_: Bench) -> Outcome {
    let free = frames::usage().free;
    let mut pages = Vec::with_capacity(free);
    let left = frames::usage().free;
    while let Ok(page) = SharedPage::new() {
        pages.push(page);
        ensure!(pages.len() <= left, "more pages than there are");
    }
    ensure!(pages.len() == left, "{} pages of {left}", pages.len());
    let mut frames: Vec<_> = pages.iter().map(SharedPage::pfn).collect();
    frames.sort_unstable();
    frames.dedup();
    ensure!(frames.len() == left, "a frame was handed out twice");
    drop(pages);
    let after = frames::usage().free;
    ensure!(after == left, "{left} free frames became {after}");
    Ok(())
}
