//! The lab's log: one line per event, stamped with the seconds since the program started.

use std::cell::Cell;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Instant;

/// Returns the moment from which stamps count, which is that of the first call.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

thread_local! {
    /// What this thread's lines begin with.
    static LABEL: Cell<&'static str> = const { Cell::new("") };
}

/// Begins this thread's lines with `label`, to tell runs apart that go side by side.
pub(crate) fn label(label: &'static str) {
    LABEL.set(label);
}

/// Starts the clock of the stamps.
pub(crate) fn init() {
    start();
}

/// Writes `text` as stamped lines. A closed standard output is not an error, because the logs on
/// disk are complete without it.
pub(crate) fn line(text: &str) {
    let seconds = start().elapsed().as_secs_f32();
    let label = LABEL.get();
    let space = if label.is_empty() { "" } else { " " };
    let mut out = std::io::stdout().lock();
    for part in text.split('\n') {
        let _ = writeln!(out, "[{seconds:7.1}] {label}{space}{}", printable(part));
    }
    let _ = out.flush();
}

/// Replaces control characters, with which a guest or a tool could confuse the terminal.
fn printable(text: &str) -> String {
    text.trim_end_matches('\r')
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Logs a formatted line.
macro_rules! say {
    ($($arg:tt)*) => { $crate::log::line(&format!($($arg)*)) };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\tb\u{1b}[2J\r"), "a\tb\u{fffd}[2J");
    }
}
