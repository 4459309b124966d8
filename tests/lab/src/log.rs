//! The lab's own log: one line per event, stamped with the seconds since the program started.

use std::cell::Cell;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Instant;

/// The moment from which stamps count: the first call.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

thread_local! {
    /// What the lines of this thread begin with.
    static LABEL: Cell<&'static str> = const { Cell::new("") };
}

/// Gives this thread's lines `label`, where several runs go side by side.
pub(crate) fn label(label: &'static str) {
    LABEL.set(label);
}

/// Starts the clock of the stamps.
pub(crate) fn init() {
    start();
}

/// Writes `text` as stamped lines. A closed standard output is not an error: the logs on disk
/// are complete all the same.
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

/// Replaces what a guest or a tool may send to confuse a terminal: control characters.
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
