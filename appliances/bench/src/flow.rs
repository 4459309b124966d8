//! What has come in and was found right: how much, and the longest time without any.

use core::cell::Cell;
use core::time::Duration;

use kernel::time::{self, Instant};

/// Of all streams that are compared, together.
#[derive(Default)]
pub(crate) struct Flow {
    /// Bytes since boot.
    bytes: Cell<u64>,
    /// When the last ones came.
    last: Cell<Option<Instant>>,
    /// The longest time without any since somebody asked.
    gap: Cell<Duration>,
}

impl Flow {
    /// Bytes that were compared and found right, since boot.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// A stream begins: what went before it is no gap.
    pub(crate) fn begin(&self) {
        self.last.set(None);
    }

    /// `count` bytes were right.
    pub(crate) fn add(&self, count: usize) {
        self.bytes.set(self.bytes.get() + count as u64);
        let now = time::now();
        if let Some(last) = self.last.replace(Some(now)) {
            let gap = now.saturating_duration_since(last);
            self.gap.set(self.gap.get().max(gap));
        }
    }

    /// What there is to say now. The longest gap begins anew with it.
    pub(crate) fn report(&self) -> alloc::string::String {
        alloc::format!(
            "bytes={} ns={} gap_ns={}",
            self.bytes.get(),
            time::now().as_nanos(),
            self.gap.take().as_nanos()
        )
    }
}
