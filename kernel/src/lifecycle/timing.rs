//! Records when each phase of the current suspend was reached, and prints the
//! table.

use crate::bug;
use crate::domain;
use crate::hypercall::{self, time_running};
use crate::phase::{Asked, Outcome, Phase};
use crate::task;
use crate::time::{self, Instant};
use crate::trace::{self, Event};
use crate::vcpu_cell::VcpuCell;
use alloc::string::String;
use core::fmt::Write;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use core::time::Duration;

/// How long after the return the table waits for the last phases.
const PATIENCE: Duration = Duration::from_secs(10);

/// The columns of the table, whose times count from the request.
const COLUMNS: [Phase; 8] = [
    Phase::Settled,
    Phase::Quiesced,
    Phase::Hypercall,
    Phase::Return,
    Phase::StoreUp,
    Phase::VifConnected,
    Phase::FirstFrame,
    Phase::FirstAck,
];

/// Counts since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Suspends, with any outcome.
    pub suspends: u32,
    /// Suspends that were cancelled.
    pub cancelled: u32,
}

/// The time at which each phase was reached.
struct Reached([Option<Instant>; Phase::ALL.len()]);

impl Reached {
    const NEVER: Self = Self([None; Phase::ALL.len()]);

    fn when(&self, phase: Phase) -> Option<Instant> {
        self.0[phase.place()]
    }

    fn note(&mut self, phase: Phase, now: Instant) {
        self.0[phase.place()] = Some(now);
    }

    /// Forgets the phases of the previous suspend.
    fn begin_suspend(&mut self) {
        for phase in Phase::ALL {
            if phase.counts_from_request() {
                self.0[phase.place()] = None;
            }
        }
    }
}

struct Table {
    counts: Counts,
    asked: Asked,
    outcome: Outcome,
    reached: Reached,
    /// Asks Xen how long the vCPU has run. Zero before the first suspend, so
    /// host tests that only record phases need no Xen.
    running: fn() -> Duration,
    /// The answer when last asked, and the time that the vCPU has used since
    /// the request.
    ran: (Duration, Duration),
    /// The hypercalls before the request.
    calls: u64,
    /// The time that the vCPU used between the request and the first frame, and its hypercalls.
    own: Option<(Duration, u64)>,
    away: Duration,
    /// Whether the current suspend has a table that is not printed yet.
    open: bool,
    printer: Option<Waker>,
}

impl Table {
    /// Adds the time that the vCPU has used since last asked.
    fn charge(&mut self) {
        let running = (self.running)();
        self.ran.1 += running.saturating_sub(self.ran.0);
        self.ran.0 = running;
    }

    fn is_full(&self) -> bool {
        COLUMNS
            .iter()
            .all(|&phase| self.reached.when(phase).is_some())
    }
}

static TABLE: VcpuCell<Table> = VcpuCell::new(Table {
    counts: Counts {
        suspends: 0,
        cancelled: 0,
    },
    asked: Asked::Xenstore,
    outcome: Outcome::Cancelled,
    reached: Reached::NEVER,
    running: || Duration::ZERO,
    ran: (Duration::ZERO, Duration::ZERO),
    calls: 0,
    own: None,
    away: Duration::ZERO,
    open: false,
    printer: None,
});

/// Returns the number of suspends since boot.
#[must_use]
pub fn counts() -> Counts {
    TABLE.borrow().counts
}

/// Records that `phase` was reached, if it is the first time in this suspend.
/// Called by the parts that know: xenstore, the network.
pub fn reached(phase: Phase) {
    let mut table = TABLE.borrow();
    if phase.counts_from_request() && (!table.open || table.reached.when(phase).is_some()) {
        return;
    }
    table.reached.note(phase, time::now());
    trace::record(Event::Phase(phase));
    if phase == Phase::FirstFrame {
        table.charge();
        table.own = Some((table.ran.1, hypercall::counts().all - table.calls));
        task::hurry(false);
    }
    let printer = if table.is_full() {
        table.printer.take()
    } else {
        None
    };
    drop(table);
    if let Some(printer) = printer {
        printer.wake();
    }
}

/// Begins a suspend; prints the table of the previous one if it still waits.
pub(crate) fn begin(asked: Asked) {
    print();
    task::hurry(true);
    let mut table = TABLE.borrow();
    table.counts.suspends += 1;
    table.asked = asked;
    table.outcome = Outcome::Cancelled;
    table.reached.begin_suspend();
    table.running = time_running;
    table.ran = (time_running(), Duration::ZERO);
    table.calls = hypercall::counts().all;
    table.own = None;
    table.away = Duration::ZERO;
    table.open = true;
    drop(table);
    reached(Phase::Request);
}

/// Called right before the hypercall, after which the guest may be another
/// domain, whose vCPU has not run yet.
pub(crate) fn leave() {
    TABLE.borrow().charge();
    reached(Phase::Hypercall);
}

/// Called when the hypercall has returned.
pub(crate) fn come_back() {
    TABLE.borrow().ran.0 = time_running();
}

/// Ends the suspend. The guest was `away` for that long by the wall clock.
pub(crate) fn end(outcome: Outcome, away: Duration) {
    {
        let mut table = TABLE.borrow();
        table.outcome = outcome;
        table.away = away;
        table.counts.cancelled += u32::from(outcome == Outcome::Cancelled);
    }
    if outcome == Outcome::Cancelled {
        print();
        return;
    }
    task::spawn(async {
        // Full or not, the table is printed as it is then.
        let _ = time::timeout(PATIENCE, full()).await;
        print();
    })
    .detach();
}

/// Waits until every phase was reached, in any order.
async fn full() {
    poll_fn(|context| {
        let mut table = TABLE.borrow();
        if !table.open || table.is_full() {
            return Poll::Ready(());
        }
        let former = table.printer.replace(context.waker().clone());
        drop(table);
        drop(former);
        Poll::Pending
    })
    .await;
}

/// Prints the table, if it is not printed yet.
fn print() {
    let mut table = TABLE.borrow();
    if !core::mem::take(&mut table.open) {
        return;
    }
    task::hurry(false);
    let Some(request) = table.reached.when(Phase::Request) else {
        bug::report("a suspend has a table and no request");
        return;
    };
    let mut line = String::new();
    // Writing to a String cannot fail.
    for (number, phase) in COLUMNS.into_iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let _ = match table.reached.when(phase) {
            Some(at) => {
                let micros = at.saturating_duration_since(request).as_micros();
                write!(line, "{comma} {phase} {micros}")
            }
            None => write!(line, "{comma} {phase} -"),
        };
    }
    let _ = match table.own {
        Some((own, calls)) => write!(line, "; own {} us; hypercalls {calls}", own.as_micros()),
        None => line.write_str("; own - us; hypercalls -"),
    };
    let (counts, asked, away) = (table.counts, table.asked, table.away.as_millis());
    let outcome = table.outcome;
    drop(table);
    let domid = domain::domid();
    match outcome {
        Outcome::Cancelled => log::info!(
            "lifecycle: suspend {}: cancelled, asked by {asked}; us since request:{line}; away {away} ms",
            counts.suspends
        ),
        Outcome::NewDomain => log::info!(
            "lifecycle: suspend {}: new domain {domid}, asked by {asked}; us since request:{line}; away {away} ms",
            counts.suspends
        ),
    }
}
