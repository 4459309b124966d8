//! Counts of the guest's hypercalls, by kind. Each hypercall costs a trap, so the counts show what
//! a path costs on any machine; times show it for one machine only.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::abi;

/// The kinds that are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sched,
    EventChannel,
    /// Notifications, a subset of the event channel operations.
    Send,
    GrantTable,
    Memory,
    Other,
}

struct Counters {
    sched: AtomicU64,
    event_channel: AtomicU64,
    send: AtomicU64,
    grant_table: AtomicU64,
    memory: AtomicU64,
    other: AtomicU64,
}

static COUNTERS: Counters = Counters {
    sched: AtomicU64::new(0),
    event_channel: AtomicU64::new(0),
    send: AtomicU64::new(0),
    grant_table: AtomicU64::new(0),
    memory: AtomicU64::new(0),
    other: AtomicU64::new(0),
};

impl Kind {
    #[inline(always)]
    fn counter(self) -> &'static AtomicU64 {
        match self {
            Self::Sched => &COUNTERS.sched,
            Self::EventChannel => &COUNTERS.event_channel,
            Self::Send => &COUNTERS.send,
            Self::GrantTable => &COUNTERS.grant_table,
            Self::Memory => &COUNTERS.memory,
            Self::Other => &COUNTERS.other,
        }
    }
}

/// Returns the kind of hypercall `number`.
pub(super) const fn kind(number: u32) -> Kind {
    match number {
        abi::__HYPERVISOR_sched_op => Kind::Sched,
        abi::__HYPERVISOR_event_channel_op => Kind::EventChannel,
        abi::__HYPERVISOR_grant_table_op => Kind::GrantTable,
        abi::__HYPERVISOR_mmu_update
        | abi::__HYPERVISOR_update_va_mapping
        | abi::__HYPERVISOR_mmuext_op
        | abi::__HYPERVISOR_memory_op => Kind::Memory,
        _ => Kind::Other,
    }
}

/// Counts one hypercall. With one vCPU a load and a store suffice; no locked instruction is needed.
#[inline(always)]
pub(super) fn count(kind: Kind) {
    let count = kind.counter();
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Hypercalls since boot; a resume does not reset them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// All hypercalls.
    pub all: u64,
    /// Scheduler operations, mostly blocking.
    pub sched: u64,
    /// Event channel operations, including notifications.
    pub event_channel: u64,
    /// Notifications sent.
    pub sends: u64,
    /// Grant table operations; a batch counts as one.
    pub grant_table: u64,
    /// Changes of page tables and of the memory reservation.
    pub memory: u64,
}

/// Returns the counts.
#[must_use]
pub fn counts() -> Calls {
    let of = |kind: Kind| kind.counter().load(Ordering::Relaxed);
    let (sched, event_channel) = (of(Kind::Sched), of(Kind::EventChannel));
    let (grant_table, memory) = (of(Kind::GrantTable), of(Kind::Memory));
    Calls {
        all: sched + event_channel + grant_table + memory + of(Kind::Other),
        sched,
        event_channel,
        sends: of(Kind::Send),
        grant_table,
        memory,
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hypercalls={} sched={} event_channel={} sends={} grant_table={} memory={}",
            self.all, self.sched, self.event_channel, self.sends, self.grant_table, self.memory
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_count_among_the_event_channel_operations() {
        let before = counts();
        count(kind(abi::__HYPERVISOR_event_channel_op));
        count(Kind::Send);
        count(kind(abi::__HYPERVISOR_update_va_mapping));
        let after = counts();
        assert_eq!(after.all, before.all + 2);
        assert_eq!(after.sends, before.sends + 1);
        assert_eq!(after.memory, before.memory + 1);
    }
}
