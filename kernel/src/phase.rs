//! Names for everything that happens around a suspend. Log lines, the trace
//! ring and the timing table all use them.

use core::fmt;

/// A step of a suspend. The variants are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Pre-copy has begun.
    EarlyNotice,
    /// Pre-copy was abandoned.
    NoticeWithdrawn,
    /// The toolstack asked for the suspend.
    Request,
    /// Every part has settled: nothing is in progress.
    Settled,
    /// Every part is quiescent.
    Quiesced,
    /// `SCHEDOP_shutdown` is issued.
    Hypercall,
    /// The hypercall has returned, and the clock runs again.
    Return,
    /// xenstore has answered its first request.
    StoreUp,
    /// The backend of the network interface is connected.
    VifConnected,
    /// The first frame has been passed to the backend.
    FirstFrame,
    /// The first TCP acknowledgement has arrived.
    FirstAck,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 11] = [
        Self::EarlyNotice,
        Self::NoticeWithdrawn,
        Self::Request,
        Self::Settled,
        Self::Quiesced,
        Self::Hypercall,
        Self::Return,
        Self::StoreUp,
        Self::VifConnected,
        Self::FirstFrame,
        Self::FirstAck,
    ];

    /// Returns the phase's index in a table with an entry for each of
    /// [`ALL`](Self::ALL).
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::EarlyNotice => 0,
            Self::NoticeWithdrawn => 1,
            Self::Request => 2,
            Self::Settled => 3,
            Self::Quiesced => 4,
            Self::Hypercall => 5,
            Self::Return => 6,
            Self::StoreUp => 7,
            Self::VifConnected => 8,
            Self::FirstFrame => 9,
            Self::FirstAck => 10,
        }
    }

    /// Returns whether the phase is timed from the request on: all but the
    /// notice, which precedes the request.
    pub(crate) const fn counts_from_request(self) -> bool {
        !matches!(self, Self::EarlyNotice | Self::NoticeWithdrawn)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EarlyNotice => "early notice",
            Self::NoticeWithdrawn => "notice withdrawn",
            Self::Request => "request",
            Self::Settled => "settled",
            Self::Quiesced => "quiesced",
            Self::Hypercall => "hypercall",
            Self::Return => "return",
            Self::StoreUp => "xenstore up",
            Self::VifConnected => "vif connected",
            Self::FirstFrame => "first frame",
            Self::FirstAck => "first ack",
        })
    }
}

/// How the suspend hypercall ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The same domain continues: a failed migration, or a checkpoint.
    Cancelled,
    /// The guest is another domain now, on this host or on another.
    NewDomain,
}

/// How the toolstack asked for the suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// An event on the channel of `device/suspend/event-channel`.
    EventChannel,
    /// `control/shutdown` in xenstore.
    Xenstore,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventChannel => "event channel",
            Self::Xenstore => "xenstore",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Phase;

    #[test]
    fn every_phase_has_its_own_place() {
        let places = Phase::ALL.map(Phase::place);
        assert_eq!(
            places.to_vec(),
            (0..places.len()).collect::<alloc::vec::Vec<_>>()
        );
    }
}
