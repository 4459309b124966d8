//! Ends the domain (`SCHEDOP_shutdown`).

use crate::console;
use crate::hypercall::sched_op;
use core::time::Duration;
use xen_sys::abi;

/// The reason why the domain stops. The toolstack reacts as `on_poweroff`,
/// `on_reboot` and `on_crash` of the domain's configuration say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Switched off.
    Poweroff,
    /// To be started again.
    Reboot,
    /// Ended by a bug or an unusable configuration.
    Crash,
}

/// Longest wait for the console daemon to read the last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Ends the domain, once the console daemon has read what was printed.
pub fn stop(reason: Reason) -> ! {
    console::flush(LAST_WORDS);
    let argument = abi::sched_shutdown {
        reason: match reason {
            Reason::Poweroff => abi::SHUTDOWN_poweroff,
            Reason::Reboot => abi::SHUTDOWN_reboot,
            Reason::Crash => abi::SHUTDOWN_crash,
        },
    };
    loop {
        // SAFETY: the structure of this command.
        let _ = unsafe { sched_op(abi::SCHEDOP_shutdown, &raw const argument) };
    }
}
