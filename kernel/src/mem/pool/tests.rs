use super::*;
use alloc::boxed::Box;
use alloc::vec;
use proptest::prelude::*;

/// Makes a pool of `total` frames of which `mapped` are free.
pub(in crate::mem) fn pool(total: usize, mapped: Range<Pfn>) -> Pool {
    let bitmap = || Box::leak(vec![0; total.div_ceil(64)].into_boxed_slice());
    let mut pool = Pool::new(total, bitmap(), bitmap());
    pool.arrived(mapped.clone());
    pool.put(mapped);
    pool
}

#[test]
fn single_frames_come_from_the_top_and_runs_from_the_bottom() {
    let mut pool = pool(200, 0..200);
    assert_eq!(pool.take_from_top(), Some(199));
    assert_eq!(pool.take_run(16), Some(0));
    assert_eq!(pool.take_run(130), Some(16));
    assert_eq!(pool.take_run(54), None);
    assert_eq!(pool.take_run(53), Some(146));
    assert_eq!(pool.take_from_top(), None);
    assert_eq!(pool.free(), 0);
}

#[test]
#[should_panic(expected = "given back twice")]
fn a_frame_cannot_be_given_back_twice() {
    pool(64, 0..64).put(3..4);
}

#[test]
#[should_panic(expected = "given back twice")]
fn a_frame_without_memory_cannot_be_given_back() {
    pool(128, 0..64).put(100..101);
}

#[test]
#[should_panic(expected = "left while in use")]
fn memory_in_use_cannot_leave() {
    let mut pool = pool(128, 0..128);
    let pfn = pool.take_from_top().expect("a free frame");
    pool.left(pfn..pfn + 1);
}

#[test]
fn a_possible_run_reaches_over_free_and_absent_frames() {
    let mut pool = pool(300, 0..100);
    assert_eq!(pool.take_run(90), Some(0));
    assert_eq!(pool.possible_run(10), Some(90..100));
    assert_eq!(pool.possible_run(150), Some(90..240));
    assert_eq!(pool.possible_run(211), None);
    assert_eq!(pool.take_from_top(), Some(99));
    assert_eq!(pool.possible_run(10), Some(100..110));
}

#[test]
fn a_frame_outside_a_range_is_above_or_below_it() {
    let mut pool = pool(300, 0..300);
    assert_eq!(pool.take_outside(&(100..299)), Some(299));
    assert_eq!(pool.take_outside(&(100..299)), Some(99));
    assert_eq!(pool.take_outside(&(64..299)), Some(63));
    assert_eq!(pool.take_outside(&(0..299)), None);
    assert_eq!(pool.take_outside(&(0..0)), Some(298));
}

#[test]
fn the_last_batch_may_be_short() {
    let mut pool = pool(200, 0..64);
    assert_eq!(pool.absent_in(0), None);
    assert_eq!(pool.absent_in(3), Some(192..200));
    assert_eq!(pool.highest_absent_batch(), Some(3));
    pool.arrived(192..200);
    assert_eq!(pool.absent_in(3), None);
    assert_eq!(pool.highest_absent_batch(), Some(2));
    pool.arrived(130..140);
    assert_eq!(pool.absent_in(2), Some(128..130));
}

#[test]
fn the_batch_that_leaves_first_is_far_from_both_ends() {
    let mut pool = pool(640, 0..640);
    assert_eq!(pool.free_batch(), Some(320..384));
    pool.left(320..384);
    assert_eq!(pool.free_batch(), Some(256..320));
    assert_eq!(pool.take_run(600), None);
}

proptest! {
    /// No frame is handed out twice, and the count stays right.
    #[test]
    fn every_frame_has_one_holder(steps in prop::collection::vec((0u8..3, 1usize..40), 1..200)) {
        let mut pool = pool(320, 0..320);
        let mut held: vec::Vec<Range<Pfn>> = vec::Vec::new();
        for (kind, size) in steps {
            let taken = match kind {
                0 => pool.take_from_top().map(|pfn| pfn..pfn + 1),
                1 => pool.take_run(size).map(|pfn| pfn..pfn + size),
                _ => {
                    if !held.is_empty() {
                        pool.put(held.swap_remove(size % held.len()));
                    }
                    None
                }
            };
            if let Some(taken) = taken {
                prop_assert!(held.iter().all(|other| other.end <= taken.start || taken.end <= other.start));
                held.push(taken);
            }
            let used: usize = held.iter().map(Range::len).sum();
            prop_assert_eq!(pool.free(), 320 - used);
        }
    }
}
