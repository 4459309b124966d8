//! Keeps the reserve of free frames at its size: gets more memory as soon as
//! the reserve runs low ([`look`]), and gives back what has been unused for a
//! while or is beyond the toolstack's target ([`serve`]).

use crate::cmdline::{CommandLine, OptionError};
use crate::mem::elastic::Elastic;
use crate::mem::frames;
use crate::page::PAGE_SIZE;
use crate::suspend;
use crate::task;
use crate::time::{self, Instant};
use crate::vcpu_cell::VcpuCell;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use core::time::Duration;

/// How long not to refill the reserve after Xen had no memory, or the memory
/// must not change. An allocation that finds nothing free asks Xen all the
/// same.
const PAUSE: Duration = Duration::from_secs(1);

/// How long memory must stay unused before it is given back.
const UNUSED: Duration = Duration::from_secs(5);

/// Shortest time between two log lines about refused memory.
const QUIET: Duration = Duration::from_secs(60);

struct State {
    /// When the reserve may be filled again.
    resume: Option<Instant>,
    /// How many refusals were reported, and when.
    reported: u64,
    last_report: Option<Instant>,
    /// The waker of [`serve`] while it waits.
    waker: Option<Waker>,
}

static STATE: VcpuCell<State> = VcpuCell::new(State {
    resume: None,
    reported: 0,
    last_report: None,
    waker: None,
});

/// Takes the option `reserve` from the command line, in KiB.
pub(crate) fn options(line: &mut CommandLine) -> Result<(), OptionError> {
    let expected = "a number of KiB (example: reserve=1024)";
    if let Some(given) = line.take_parsed::<u32>("reserve", expected)? {
        let frames = (given as usize).div_ceil(PAGE_SIZE / 1024);
        frames::set_reserve(frames.min(frames::usage().total));
    }
    Ok(())
}

/// Refills the reserve and wakes [`serve`]; called in each turn of the run
/// loop, so it needs no timer.
pub(crate) fn look(now: Instant) {
    let (pausing, waited_for) = {
        let state = STATE.borrow();
        let pausing = state.resume.is_some_and(|resume| now < resume);
        (pausing, state.waker.is_some())
    };
    let (refused, failed, plenty) = frames::with(|elastic| {
        let mut refused = false;
        // Ends when the reserve is full, or no memory is to be had.
        while !pausing && !refused && elastic.is_low() {
            refused = !elastic.grow_top();
        }
        let plenty = waited_for && (elastic.has_plenty() || elastic.is_above_target());
        (refused, elastic.counters.failed, plenty)
    })
    .unwrap_or_default();
    let mut state = STATE.borrow();
    if !pausing {
        state.resume = refused.then_some(now + PAUSE);
    }
    let waker = plenty.then(|| state.waker.take()).flatten();
    let quiet = state
        .last_report
        .is_some_and(|last| now.saturating_duration_since(last) < QUIET);
    let report = failed > state.reported && !quiet;
    if report {
        state.reported = failed;
        state.last_report = Some(now);
    }
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
    if report {
        let usage = frames::usage();
        log::warn!(
            "memory: Xen had none left {failed} times; {} KiB of {} KiB resident, {} KiB free",
            usage.resident * PAGE_SIZE / 1024,
            usage.total * PAGE_SIZE / 1024,
            usage.at_hand * PAGE_SIZE / 1024,
        );
    }
}

/// Gives memory back to Xen: at once what is beyond the toolstack's target, and
/// the rest after it has been unused for some time. Runs a timer only while
/// there is something to give back.
pub(crate) async fn serve() {
    loop {
        poll_fn(|context| {
            let plenty = |elastic: &mut Elastic| elastic.has_plenty() || elastic.is_above_target();
            if frames::with(plenty) == Some(true) {
                return Poll::Ready(());
            }
            let former = STATE.borrow().waker.replace(context.waker().clone());
            drop(former);
            Poll::Pending
        })
        .await;
        release(Elastic::release_excess).await;
        frames::with(|elastic| elastic.begin_watch());
        time::sleep(UNUSED).await;
        release(Elastic::release_unused).await;
    }
}

/// Gives back what `batch` finds, unless the guest would not see an early
/// notice. One batch at a time, so that other tasks do not wait long.
async fn release(batch: impl Fn(&mut Elastic) -> bool) {
    while suspend::is_forewarned() && frames::with(&batch) == Some(true) {
        task::yield_now().await;
    }
}
