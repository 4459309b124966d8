//! Prints the `log` crate's records on the console, with the guest's time.

use crate::{console, time};
use log::{Level, LevelFilter, Log, Metadata, Record};

struct ConsoleLogger;

impl Log for ConsoleLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let micros = time::now().as_nanos() / 1000;
        let level = match record.level() {
            Level::Error => "ERROR ",
            Level::Warn => "WARN ",
            Level::Info => "",
            Level::Debug => "DEBUG ",
            Level::Trace => "TRACE ",
        };
        console::print(format_args!(
            "[{:5}.{:06}] {level}{}\n",
            micros / 1_000_000,
            micros % 1_000_000,
            record.args()
        ));
    }

    fn flush(&self) {}
}

/// Installs the logger, with `level` as the most verbose level.
pub(crate) fn init(level: LevelFilter) {
    static LOGGER: ConsoleLogger = ConsoleLogger;
    // Only a second logger would be refused, and this is the first.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}
