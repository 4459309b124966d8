//! The panic handler: prints the panic and ends the domain.

use crate::console;
use crate::power::{self, Reason};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

static PANICKING: AtomicBool = AtomicBool::new(false);

/// Prints the message and location on the console and ends the domain as
/// crashed.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    // On a panic while printing one, the console itself is at fault.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        let message = info.message();
        match info.location() {
            Some(place) => {
                console::print(format_args!(
                    "panic at {}:{}: {message}\n",
                    place.file(),
                    place.line()
                ));
            }
            None => console::print(format_args!("panic: {message}\n")),
        }
    }
    power::stop(Reason::Crash)
}
