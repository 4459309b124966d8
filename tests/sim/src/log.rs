//! What a run reports: the first violation, and a trace on request.

use std::cell::RefCell;

use crate::xen::Clock;

/// Shared by everything in one world.
#[derive(Debug)]
pub struct Log {
    clock: Clock,
    is_traced: bool,
    violation: RefCell<Option<String>>,
}

impl Log {
    /// Returns a log without a violation; with `is_traced` it prints as it
    /// goes.
    #[must_use]
    pub fn new(clock: Clock, is_traced: bool) -> Self {
        Self {
            clock,
            is_traced,
            violation: RefCell::new(None),
        }
    }

    /// Prints what happens, if the run is traced.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            println!("{} {}", self.stamp(), what());
        }
    }

    /// Reports something that must not happen. Only the first report counts.
    pub fn violation(&self, what: impl FnOnce() -> String) {
        let mut violation = self.violation.borrow_mut();
        if violation.is_none() {
            let what = format!("{} {}", self.stamp(), what());
            self.note(|| format!("VIOLATION {what}"));
            *violation = Some(what);
        }
    }

    /// Returns the first violation.
    #[must_use]
    pub fn verdict(&self) -> Option<String> {
        self.violation.borrow().clone()
    }

    /// Whether there was a violation.
    #[must_use]
    pub fn is_violated(&self) -> bool {
        self.violation.borrow().is_some()
    }

    fn stamp(&self) -> String {
        let micros = self.clock.get() / 1000;
        format!("{:>6}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}
