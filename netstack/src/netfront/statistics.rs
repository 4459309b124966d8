//! What the driver counts.

use core::fmt;

use super::assemble::Refused;

/// Counters of the network device since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Frames received and handed on.
    pub rx_frames: u64,
    /// Bytes of those frames.
    pub rx_bytes: u64,
    /// Received frames dropped because a checksum was wrong.
    pub rx_bad_checksum: u64,
    /// Received frames dropped because their lengths contradict each other.
    pub rx_malformed: u64,
    /// Received frames dropped because they are pieces of fragmented packets, which are not put
    /// together.
    pub rx_fragments: u64,
    /// Received packets dropped because the backend reported an error for a slot.
    pub rx_backend_errors: u64,
    /// Received packets dropped because a slot is invalid.
    pub rx_bad_slots: u64,
    /// Received packets dropped because there was no memory for them.
    pub rx_no_memory: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes of those frames.
    pub tx_bytes: u64,
    /// Frames among them that the backend cuts into segments.
    pub tx_gso_frames: u64,
    /// Frames not sent for lack of room in the ring, or of a connection. Only replies: sockets wait.
    pub tx_dropped: u64,
    /// Frames sent again because a migration left them unanswered.
    pub tx_resent: u64,
    /// Slots that the backend answered with an error.
    pub tx_refused_by_backend: u64,
    /// Notifications sent to the backend.
    pub notifications: u64,
    /// Batches that needed no notification, because the backend was awake.
    pub notifications_saved: u64,
    /// Events received from the backend.
    pub events: u64,
    /// Connections ended because the backend broke the protocol.
    pub violations: u64,
    /// Pages granted at present.
    pub pages: u64,
}

impl LinkStatistics {
    pub(super) fn count_refused(&mut self, refused: Refused) {
        match refused {
            Refused::BackendError => self.rx_backend_errors += 1,
            Refused::BadRange | Refused::TooLong | Refused::BadExtra => self.rx_bad_slots += 1,
            Refused::NoMemory => self.rx_no_memory += 1,
        }
    }
}

impl fmt::Display for LinkStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rx {} frames {} bytes, dropped: {} checksum {} malformed {} fragments {} backend \
             {} slots {} memory; tx {} frames ({} gso) {} bytes, dropped {} resent {} refused {}; notified {} saved \
             {} events {} pages {}",
            self.rx_frames,
            self.rx_bytes,
            self.rx_bad_checksum,
            self.rx_malformed,
            self.rx_fragments,
            self.rx_backend_errors,
            self.rx_bad_slots,
            self.rx_no_memory,
            self.tx_frames,
            self.tx_gso_frames,
            self.tx_bytes,
            self.tx_dropped,
            self.tx_resent,
            self.tx_refused_by_backend,
            self.notifications,
            self.notifications_saved,
            self.events,
            self.pages,
        )
    }
}
