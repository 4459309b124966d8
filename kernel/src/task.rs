//! Tasks: futures that take turns on the guest's single vCPU.
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

/// How a suspend affects a task's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The task waits its turn.
    Ordinary,
    /// The suspend depends on the task: from the request to the first frame afterwards it runs
    /// before ordinary tasks.
    Lifecycle,
}

/// The handle of a task.
pub type Task<T> = async_task::Task<T, Role>;

type Runnable = async_task::Runnable<Role>;

static READY: VcpuCell<VecDeque<Runnable>> = VcpuCell::new(VecDeque::new());

/// Whether tasks of [`Role::Lifecycle`] run first.
static HURRY: AtomicBool = AtomicBool::new(false);

fn schedule(task: Runnable) {
    READY.borrow().push_back(task);
}

/// Removes the task whose turn it is from the queue.
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

/// Tells the scheduler that a suspend begins, or that it is over.
pub(crate) fn hurry(begins: bool) {
    HURRY.store(begins, Ordering::Relaxed);
}

/// Starts a task. Dropping the handle cancels it; `detach` lets it keep running.
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

/// Lets all other ready tasks run first.
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

/// Turns of the run loop per reading of the clock, unless the loop blocks. A reading can cost a
/// trap into Xen ([`time::turn`]); in return timers may be late by this many turns.
const TURNS: u32 = 8;

/// Runs tasks for ever. Each turn begins with a call of `each_turn` with the turn's time.
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
        // Run only tasks that are ready now: one that makes itself ready again must not keep events
        // waiting.
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
