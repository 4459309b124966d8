//! The guest's clock and its timers.

use crate::{Bench, Outcome, ensure};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::pending;
use core::time::Duration;
use kernel::{task, time};

pub(crate) async fn never_goes_back(_: Bench) -> Outcome {
    let start = time::now();
    let mut last = start;
    for _ in 0..100_000 {
        let now = time::now();
        ensure!(now >= last, "{now:?} after {last:?}");
        last = now;
    }
    ensure!(last > start, "the clock stands still at {last:?}");
    Ok(())
}

pub(crate) async fn timers_fire_in_order_and_not_early(_: Bench) -> Outcome {
    let fired = Rc::new(RefCell::new(Vec::new()));
    // All of them are waiting before the first is due.
    let start = time::now() + Duration::from_millis(300);
    let tasks: Vec<_> = [30u64, 5, 20, 10, 0, 15]
        .into_iter()
        .map(|millis| {
            let fired = fired.clone();
            task::spawn(async move {
                time::sleep_until(start + Duration::from_millis(millis)).await;
                let late = time::now().saturating_duration_since(start);
                fired.borrow_mut().push((millis, late));
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let fired = fired.borrow();
    ensure!(
        fired.is_sorted_by_key(|&(millis, _)| millis),
        "fired as {fired:?}"
    );
    ensure!(
        fired
            .iter()
            .all(|&(millis, late)| late >= Duration::from_millis(millis)),
        "too early: {fired:?}"
    );
    Ok(())
}

pub(crate) async fn a_timeout_ends_a_wait(_: Bench) -> Outcome {
    let limit = Duration::from_millis(5);
    ensure!(
        time::timeout(limit, pending::<()>()).await.is_err(),
        "it did not"
    );
    ensure!(
        time::timeout(limit, async { 7 }).await == Ok(7),
        "it ended too much"
    );
    Ok(())
}

pub(crate) async fn the_wall_clock_is_of_this_century(_: Bench) -> Outcome {
    let seconds = time::unix_time().as_secs();
    let (from, to) = (1_700_000_000, 4_102_444_800);
    ensure!((from..to).contains(&seconds), "{seconds} s since 1970");
    Ok(())
}

/// Prints the cost of the run loop; in virtual time a nanosecond is an instruction.
pub(crate) async fn a_turn_is_short(_: Bench) -> Outcome {
    const ROUNDS: u32 = 1000;
    let begun = time::now();
    for _ in 0..ROUNDS {
        let _ = time::now();
    }
    let read = time::now();
    for _ in 0..ROUNDS {
        task::yield_now().await;
    }
    let turned = time::now();
    let each = |from: time::Instant, to: time::Instant| {
        to.saturating_duration_since(from).as_nanos() / u128::from(ROUNDS)
    };
    log::info!(
        "selftest: a reading of the clock takes {} ns, a turn of the run loop {} ns",
        each(begun, read),
        each(read, turned)
    );
    ensure!(
        each(read, turned) < 100_000,
        "a turn takes {} ns",
        each(read, turned)
    );
    Ok(())
}
