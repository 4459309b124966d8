//! What a Causeway guest needs of Xen.
//!
//! In the order in which to read it:
//! - [`pv`]: everything that only a PV guest needs (hypercalls, start of day,
//!   p2m, page tables, foreign window, traps);
//! - [`mem`]: page frames and the heap;
//! - [`event`], [`time`], [`task`]: what wakes the guest, and what it then runs;
//! - [`shared`], [`grant`], [`ring`]: memory that another domain can change;
//! - [`random`][mod@random]: nonces;
//! - [`console`], [`log`](mod@logger), [`panic()`], [`power`], [`trace`];
//! - [`lifecycle`]: suspend and resume;
//! - [`xenstore`], [`xenbus`], [`cmdline`], [`shutdown`]: talking to the toolstack.
//!
//! A guest has one vCPU and never enables event upcalls, so the whole of it is
//! one thread of execution. Every wait is a future; when no task can run, the
//! vCPU blocks in `SCHEDOP_poll` until an event or a timer is due.
//!
//! An image calls [`guest!`] with its `async fn main(kernel::Guest)`.
#![no_std]

extern crate alloc;
#[cfg(feature = "host")]
extern crate std;

pub mod cmdline;
pub mod console;
pub mod event;
pub mod grant;
pub mod lifecycle;
pub mod logger;
pub mod mem;
mod panic;
pub mod power;
pub mod pv;
pub mod random;
pub mod ring;
pub mod shared;
pub mod shutdown;
mod start;
pub mod task;
pub mod time;
pub mod trace;
mod vcpu_cell;
pub mod xenbus;
pub mod xenstore;

pub use panic::panic;
pub use start::{Guest, start};

/// Number of a domain on its host (`domid_t`); it changes in a migration.
pub type DomId = u16;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// Defines what a guest image must: its entry from `boot`, its heap, its panic
/// handler, all around the given `async fn(kernel::Guest) -> Result<(), E>`.
///
/// When the function returns `Ok` the domain powers off. When it returns an
/// error, the console shows `error: …` and the domain ends as crashed, which
/// is what `on_crash` in its configuration acts on.
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
        extern "C" fn causeway_start(start_info: usize) -> ! {
            // SAFETY: `boot` calls this once, first of all, with the address
            // that Xen's domain builder left in RSI.
            unsafe { $crate::start(start_info, $main) }
        }
    };
}
