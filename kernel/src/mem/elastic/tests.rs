use super::*;
use crate::mem::pool::tests::pool;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use proptest::prelude::*;
use spin::Mutex;

/// Frames that one page table maps in these tests.
const TABLE: usize = 256;

/// A host with limited memory for the domain, which keeps its own record.
struct Host {
    state: Mutex<State>,
}

struct State {
    left: usize,
    resident: BTreeSet<Pfn>,
    tables: BTreeSet<usize>,
    /// Frames that became page tables.
    used: BTreeSet<Pfn>,
}

impl Reservation for Host {
    fn needs_table(&self, at: Pfn) -> bool {
        !self.state.lock().tables.contains(&(at / TABLE))
    }

    fn populate(&self, frames: Range<Pfn>, table: Option<Pfn>) -> usize {
        let mut state = self.state.lock();
        assert!(!frames.is_empty() && frames.len() <= BATCH);
        assert_eq!(frames.start / TABLE, (frames.end - 1) / TABLE);
        assert_eq!(
            table.is_some(),
            !state.tables.contains(&(frames.start / TABLE)),
            "a frame for a table is given exactly when the table is missing"
        );
        let count = frames.len().min(state.left);
        if count > 0
            && let Some(table) = table
        {
            assert!(state.resident.contains(&table), "a table needs memory");
            assert!(state.used.insert(table), "a table's frame is its own");
            state.tables.insert(frames.start / TABLE);
        }
        state.left -= count;
        for pfn in frames.take(count) {
            assert!(state.resident.insert(pfn), "frame {pfn} populated twice");
        }
        count
    }

    fn release(&self, frames: Range<Pfn>) -> usize {
        let mut state = self.state.lock();
        state.left += frames.len();
        for pfn in frames.clone() {
            assert!(!state.used.contains(&pfn), "a table was given back");
            assert!(state.resident.remove(&pfn), "frame {pfn} was not there");
        }
        frames.len()
    }

    fn allowance(&self) -> usize {
        self.state.lock().left
    }
}

/// Makes a domain of `total` frames, `mapped` of them resident, on a host with
/// memory for `left` more.
fn domain(total: usize, mapped: usize, left: usize) -> (Elastic, &'static Host) {
    let host = Box::leak(Box::new(Host {
        state: Mutex::new(State {
            left,
            resident: (0..mapped).collect(),
            tables: (0..mapped.div_ceil(TABLE)).collect(),
            used: BTreeSet::new(),
        }),
    }));
    let missing = total.div_ceil(TABLE) - mapped.div_ceil(TABLE);
    (Elastic::new(pool(total, 0..mapped), host, missing), host)
}

fn take_all(elastic: &mut Elastic) -> Vec<Pfn> {
    core::iter::from_fn(|| elastic.take_single(0)).collect()
}

#[test]
fn what_counts_as_free_can_be_had_to_the_last_frame() {
    for (total, mapped) in [
        (2000, 256),
        (1500, 100),
        (256, 256),
        (300, 256),
        (257, 256),
        (258, 3),
    ] {
        let (mut elastic, _) = domain(total, mapped, total);
        let free = elastic.available();
        let taken = take_all(&mut elastic);
        assert_eq!(taken.len(), free, "{total} frames, {mapped} mapped");
        assert_eq!(elastic.pool.resident(), total);
        assert_eq!(elastic.available(), 0);
        assert_eq!(elastic.counters.failed, 0);
        for pfn in taken {
            elastic.pool.put(pfn..pfn + 1);
        }
        assert_eq!(elastic.available(), free);
    }
}

#[test]
fn a_full_host_is_an_error_and_no_more() {
    let (mut elastic, host) = domain(2000, 256, 100);
    let taken = take_all(&mut elastic);
    // One frame has become a table, one is kept for the next.
    assert_eq!(taken.len(), 256 + 100 - 2);
    assert!(elastic.counters.failed > 0);
    assert_eq!(elastic.take_run(1, 0), None);
    host.state.lock().left = 1000;
    assert!(elastic.take_single(0).is_some());
}

#[test]
fn a_closed_gate_leaves_the_reservation_alone() {
    let (mut elastic, host) = domain(2000, 256, 2000);
    elastic.gate = || false;
    let before = host.state.lock().resident.clone();
    assert_eq!(take_all(&mut elastic).len(), 255);
    assert_eq!(elastic.take_run(100, 0), None);
    assert!(elastic.counters.withheld > 0);
    assert_eq!(elastic.counters.failed, 0);
    for pfn in 0..255 {
        elastic.pool.put(pfn..pfn + 1);
    }
    elastic.reserve = 0;
    elastic.begin_watch();
    assert!(!elastic.release_unused());
    assert_eq!(host.state.lock().resident, before);
    elastic.gate = || true;
    assert!(elastic.take_run(300, 0).is_some());
}

#[test]
fn runs_grow_upwards_without_gaps() {
    let (mut elastic, _) = domain(4000, 256, 4000);
    let mut end = 0;
    for _ in 0..100 {
        let start = elastic.take_run(16, 0).expect("memory");
        // The spare frame for a table lies once between two runs.
        assert!(start == end || (end..start).len() <= 16, "{end} {start}");
        end = start + 16;
    }
    assert!(elastic.pool.resident() <= 1600 + 256 + BATCH);
    // A run over several batches and tables.
    assert!(elastic.take_run(700, 0).is_some());
}

#[test]
fn a_run_leaves_what_it_is_told_to() {
    let (mut elastic, _) = domain(256, 256, 0);
    assert_eq!(elastic.take_run(250, 10), None);
    assert_eq!(elastic.take_run(246, 10), Some(0));
    assert_eq!(elastic.take_run(10, 0), Some(246));
}

#[test]
fn the_reserve_is_filled_and_what_is_unused_goes_back() {
    let (mut elastic, host) = domain(4000, 256, 4000);
    elastic.reserve = 128;
    let held: Vec<_> = (0..1000).filter_map(|_| elastic.take_single(0)).collect();
    while elastic.is_low() {
        assert!(elastic.grow_top());
    }
    assert!(elastic.pool.free() >= 128);
    assert!(!elastic.has_plenty());
    for &pfn in &held {
        elastic.pool.put(pfn..pfn + 1);
    }
    assert!(elastic.has_plenty());
    // Part of it is used for a moment: that part stays.
    elastic.begin_watch();
    let wanted: Vec<_> = (0..600).filter_map(|_| elastic.take_single(0)).collect();
    for pfn in wanted {
        elastic.pool.put(pfn..pfn + 1);
    }
    while elastic.release_unused() {}
    assert!(elastic.pool.free() >= 600, "{}", elastic.pool.free());
    // None of it is used: all but the reserve goes.
    elastic.begin_watch();
    while elastic.release_unused() {}
    let free = elastic.pool.free();
    assert!((128..128 + 3 * BATCH).contains(&free), "{free} free");
    assert!(!elastic.has_plenty());
    let resident = host.state.lock().resident.len();
    assert_eq!(elastic.pool.resident(), resident);
}

proptest! {
    /// In any sequence of operations, every frame in use has one holder and
    /// memory behind it.
    #[test]
    fn frames_in_use_have_memory(
        mapped in 1usize..600,
        left in 0usize..1500,
        steps in prop::collection::vec((0u8..8, 1usize..120), 1..150),
    ) {
        let (mut elastic, host) = domain(1200, mapped, left);
        elastic.reserve = 40;
        let mut held: Vec<Range<Pfn>> = Vec::new();
        for (kind, size) in steps {
            let taken = match kind {
                0 | 1 => elastic.take_single(0).map(|pfn| pfn..pfn + 1),
                2 => elastic.take_run(size, 0).map(|pfn| pfn..pfn + size),
                3 => {
                    if elastic.is_low() {
                        elastic.grow_top();
                    }
                    None
                }
                4 => {
                    elastic.begin_watch();
                    elastic.release_unused();
                    None
                }
                5 => {
                    elastic.set_target(size * 10);
                    None
                }
                6 => {
                    elastic.release_excess();
                    None
                }
                _ => {
                    if !held.is_empty() {
                        elastic.pool.put(held.swap_remove(size % held.len()));
                    }
                    None
                }
            };
            let state = host.state.lock();
            if let Some(taken) = taken {
                prop_assert!(taken.clone().all(|pfn| state.resident.contains(&pfn)));
                prop_assert!(taken.clone().all(|pfn| !state.used.contains(&pfn)));
                prop_assert!(held.iter().all(|other| other.end <= taken.start || taken.end <= other.start));
                held.push(taken);
            }
            prop_assert_eq!(elastic.pool.resident(), state.resident.len());
            let used: usize = held.iter().map(Range::len).sum();
            let own = state.used.len() + usize::from(elastic.spare.is_some());
            prop_assert_eq!(elastic.pool.free() + used + own, state.resident.len());
        }
    }
}

#[test]
fn the_floor_is_kept_whatever_is_free() {
    let (mut elastic, host) = domain(2048, 512, 2048);
    elastic.reserve = 64;
    elastic.floor = 1024;
    while elastic.is_low() {
        assert!(elastic.grow_top(), "the host has enough");
    }
    assert!(host.state.lock().resident.len() >= 1024);
    // Used frames count towards the floor: with everything in use, only the
    // reserve is wanted.
    let held = take_all(&mut elastic);
    for pfn in held {
        elastic.pool.put(pfn..pfn + 1);
    }
    elastic.begin_watch();
    while elastic.release_unused() {}
    let resident = host.state.lock().resident.len();
    assert!((1024..1024 + 4 * BATCH).contains(&resident), "{resident}");
}

#[test]
fn a_target_is_followed_down_and_up() {
    let (mut elastic, host) = domain(4096, 2048, 2048);
    elastic.floor = 256;
    elastic.reserve = 64;
    let held: Vec<_> = (0..500).filter_map(|_| elastic.take_single(0)).collect();
    let needed = elastic.set_target(1024);
    // One frame is kept for a page table.
    assert_eq!(needed, 501 + LEAST_FREE);
    assert!(elastic.is_above_target());
    // What is beyond the target is not there to be used.
    while elastic.release_excess() {}
    assert_eq!(host.state.lock().resident.len(), 1024);
    assert!(elastic.available() <= 1024 - 500, "{}", elastic.available());
    let more = take_all(&mut elastic);
    assert!(more.len() <= 1024 - 500);
    assert_eq!(host.state.lock().resident.len(), 1024, "not one frame more");
    assert!(!elastic.is_low(), "it is not asked for in vain");
    // And up again.
    elastic.set_target(3000);
    let before = elastic.available();
    assert!(
        (3000 - 1024 - 20..=3000 - 1024).contains(&before),
        "{before}"
    );
    let rest = take_all(&mut elastic);
    assert_eq!(rest.len(), before);
    assert!(host.state.lock().resident.len() <= 3000);
    drop(held);
}

#[test]
fn a_target_below_what_is_used_takes_nothing_that_is_needed() {
    let (mut elastic, host) = domain(2048, 2048, 0);
    elastic.floor = 256;
    let held: Vec<_> = (0..1000).filter_map(|_| elastic.take_single(0)).collect();
    assert_eq!(elastic.set_target(1), 1000 + LEAST_FREE);
    while elastic.release_excess() {}
    assert_eq!(elastic.pool.free(), LEAST_FREE);
    assert_eq!(host.state.lock().resident.len(), 1000 + LEAST_FREE);
    // What is freed later goes back later.
    for pfn in held {
        elastic.pool.put(pfn..pfn + 1);
    }
    while elastic.release_excess() {}
    assert_eq!(host.state.lock().resident.len(), 256, "the floor");
}

#[test]
fn frames_that_xen_does_not_grant_are_not_free() {
    let (mut elastic, host) = domain(2048, 512, 1536);
    assert!(elastic.available() > 2000);
    // `xl mem-set` lowers Xen's limit at once, and the target is told later.
    host.state.lock().left = 100;
    let taken = take_all(&mut elastic);
    assert!(taken.len() < 512 + 100);
    assert_eq!(elastic.available(), 0);
    host.state.lock().left = 300;
    elastic.set_target(2048);
    let available = elastic.available();
    assert!((290..=300).contains(&available), "{available}");
}

#[test]
fn single_frames_leave_what_small_allocations_need() {
    let (mut elastic, _) = domain(256, 256, 0);
    let taken = core::iter::from_fn(|| elastic.take_single(64)).count();
    assert_eq!(taken, 256 - 64);
    assert_eq!(elastic.take_run(64, 0), Some(0));
}
