//! How many bytes have been received and found right, and the longest time without any.
use core::cell::Cell;
use core::time::Duration;

use kernel::time::{self, Instant};

/// The bytes of all streams under comparison, together.
#[derive(Default)]
pub(crate) struct Flow {
    /// Bytes since boot.
    bytes: Cell<u64>,
    /// When the latest bytes came.
    last: Cell<Option<Instant>>,
    /// The longest time without any since the last report.
    gap: Cell<Duration>,
}

impl Flow {
    /// Returns the number of bytes that were compared and found right since boot.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Begins a stream; the time before it does not count as a gap.
    pub(crate) fn begin(&self) {
        self.last.set(None);
    }

    /// Counts `count` bytes that were right.
    pub(crate) fn add(&self, count: usize) {
        self.bytes.set(self.bytes.get() + count as u64);
        let now = time::now();
        if let Some(last) = self.last.replace(Some(now)) {
            let gap = now.saturating_duration_since(last);
            self.gap.set(self.gap.get().max(gap));
        }
    }

    /// Formats the figures. The longest gap is then measured anew.
    pub(crate) fn report(&self) -> alloc::string::String {
        alloc::format!(
            "bytes={} ns={} gap_ns={}",
            self.bytes.get(),
            time::now().as_nanos(),
            self.gap.take().as_nanos()
        )
    }
}
