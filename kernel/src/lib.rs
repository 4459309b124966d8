//! What a Causeway guest needs from Xen.
//!
//! The modules form layers, listed in reading order. A module imports only modules listed before
//! it. A lower layer learns about a higher one through arguments, or through a trait that the lower
//! one defines.
//!
//! 1. Basics: `page` and `domain` (frame numbers, domain numbers, generations), `phase` (the steps
//!    of a suspend), `vcpu_cell`, [`cmdline`], [`backoff`].
//! 2. `shared_info`, the page in which Xen writes to the guest; [`time`];
//!    [`trace`] and [`bug`]; [`hypercall`].
//! 3. [`mem`]: page frames and the heap, independent of where memory comes from.
//! 4. `pv`: everything that only a PV guest needs: start of day, p2m, page tables, memory
//!    reservation (the source of `mem`'s memory), foreign window, suspend, traps.
//! 5. [`event`], [`task`]: what wakes the guest, and what it runs then; [`random`][mod@random].
//! 6. [`lifecycle`]: the contract that every part keeps in a suspend.
//! 7. [`shared`], [`grant`], [`ring`]: memory that another domain can change.
//! 8. [`console`], [`log`](mod@logger), [`power`], [`panic()`].
//! 9. [`xenstore`], [`xenbus`]: talking to the toolstack and to backends.
//! 10. `suspend`, [`shutdown`], `target`: carrying out the toolstack's requests; `upkeep`: the
//!     reserve of free memory.
//! 11. `start`: puts everything together.
//!
//! A guest has one vCPU and never enables event upcalls, so the whole guest is one thread of
//! execution. Every wait is a future; when no task can run, the vCPU blocks in `SCHEDOP_poll` until
//! an event or a timer is due.
//!
//! An image calls [`guest!`] with its `async fn main(kernel::Guest)`.
#![no_std]

extern crate alloc;
#[cfg(feature = "host")]
extern crate std;

pub mod backoff;
pub mod bug;
pub mod cmdline;
pub mod console;
mod domain;
pub mod event;
pub mod fault;
pub mod grant;
pub mod hypercall;
pub mod lifecycle;
pub mod logger;
pub mod mem;
mod page;
mod panic;
mod phase;
mod platform;
pub mod power;
pub mod random;
pub mod ring;
pub mod shared;
mod shared_info;
pub mod shutdown;
mod start;
mod suspend;
mod target;
pub mod task;
pub mod time;
pub mod trace;
mod upkeep;
mod vcpu_cell;
pub mod xenbus;
pub mod xenstore;

pub use domain::DomId;
pub use page::{PAGE_SIZE, Pfn};
pub use panic::panic;
pub use platform::{Kind, kind};
pub use start::{Guest, start};

/// Defines what every guest image needs (entry point for `boot`, heap, panic handler) around the
/// given `async fn(kernel::Guest) -> Result<(), E>`.
///
/// When the function returns `Ok`, the domain powers off. When it returns an error, the console
/// shows `error: …` and the domain ends as crashed, so `on_crash` in its configuration applies.
#[macro_export]
macro_rules! guest {
    ($main:path) => {
        extern crate boot as _;

        #[global_allocator]
        static HEAP: $crate::mem::heap::Heap = $crate::mem::heap::new();

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::panic(info)
        }

        #[unsafe(no_mangle)]
        extern "C" fn causeway_start(start_info: usize, kind: u32) -> ! {
            // SAFETY: `boot` calls this once, first of all, with the address
            // that Xen's domain builder passed, and the kind of guest.
            unsafe { $crate::start(start_info, kind, $main) }
        }
    };
}
