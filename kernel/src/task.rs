//! Tasks: futures that run in turns on the guest's one vCPU.
//!
//! [`async_task`] makes the tasks; this module is the run queue and the loop
//! that blocks the vCPU when nothing can run. A task is in the queue at most
//! once, so the queue is bounded by the number of tasks.

use crate::time::Instant;
use crate::vcpu_cell::VcpuCell;
use crate::{event, time};
use alloc::collections::VecDeque;
use async_task::Builder;
use core::future::{Future, poll_fn};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;

/// What a suspend makes of a task's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It waits its turn.
    Ordinary,
    /// The suspend waits for it: from the request to the first frame afterwards it runs before
    /// ordinary tasks.
    Lifecycle,
}

/// The handle of a task.
pub type Task<T> = async_task::Task<T, Role>;

type Runnable = async_task::Runnable<Role>;

static READY: VcpuCell<VecDeque<Runnable>> = VcpuCell::new(VecDeque::new());

/// Whether those of [`Role::Lifecycle`] come first.
static HURRY: AtomicBool = AtomicBool::new(false);

fn schedule(task: Runnable) {
    READY.borrow().push_back(task);
}

/// Takes the task whose turn it is from the queue.
fn next() -> Option<Runnable> {
    let mut ready = READY.borrow();
    let first = if HURRY.load(Ordering::Relaxed) {
        ready
            .iter()
            .position(|task| *task.metadata() == Role::Lifecycle)
    } else {
        None
    };
    ready.remove(first.unwrap_or(0))
}

/// A suspend is under way, or over.
pub(crate) fn hurry(begins: bool) {
    HURRY.store(begins, Ordering::Relaxed);
}

/// Starts a task. Dropping the handle cancels it; `detach` lets it run on.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    spawn_as(Role::Ordinary, future)
}

/// Starts a task with a [`Role`].
pub fn spawn_as<T: 'static>(role: Role, future: impl Future<Output = T> + 'static) -> Task<T> {
    let builder = Builder::new().metadata(role);
    // SAFETY: `spawn_unchecked` leaves three duties to the caller. The future
    // need not be `Send`, because there is only one vCPU; it and `schedule`
    // borrow nothing; and `schedule` is `Send` and `Sync`, being a function.
    let (runnable, task) = unsafe { builder.spawn_unchecked(move |_| future, schedule) };
    runnable.schedule();
    task
}

/// Lets the other tasks that can run do so first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Turns of the run loop for one reading of the clock, as long as it does not
/// block: a reading can cost a trap into Xen ([`time::turn`]), and timers may be
/// late by so many turns.
const TURNS: u32 = 8;

/// Runs tasks for ever. Calls `each_turn` with the turn's time before the tasks.
pub(crate) fn run(mut each_turn: impl FnMut(Instant)) -> ! {
    let mut left = 0;
    loop {
        event::dispatch();
        let now = if left == 0 {
            left = TURNS;
            time::dispatch()
        } else {
            time::turn()
        };
        left -= 1;
        each_turn(now);
        // Only what is ready now: a task that makes itself ready again must
        // not keep events waiting.
        let ready = READY.borrow().len();
        for _ in 0..ready {
            if let Some(task) = next() {
                task.run();
            }
        }
        if READY.borrow().is_empty() {
            event::block(time::next_deadline());
            left = 0;
        }
    }
}
