//! Counters.

use core::net::IpAddr;

use crate::cause::{Cause, CauseCounters};
use crate::platform::{DomId, Uuid};
use crate::stream::FourTuple;
use crate::wire::message::Reason;

/// Upgrades that a receiver refused, by the reason it gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The receiver does not know the connection.
    pub no_connection: u64,
    /// The receiver could not map the ring.
    pub unmapped: u64,
    /// The connection is not with the link's address.
    pub wrong_address: u64,
    /// The receiver is leaving.
    pub leaving: u64,
}

impl Refusals {
    pub(crate) const fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::NoConnection => &mut self.no_connection,
            Reason::Unmapped => &mut self.unmapped,
            Reason::WrongAddress => &mut self.wrong_address,
            Reason::Leaving => &mut self.leaving,
            // Not a refusal: the connection may be upgraded again.
            Reason::Fallback => return,
        } += 1;
    }
}

/// Counters of the whole channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Datagrams taken.
    pub datagrams: u64,
    /// Datagrams that were invalid, late or repeated.
    pub datagrams_dropped: u64,
    /// Links that came up.
    pub links: u64,
    /// Links that ended, by [`Cause`]. `WrongAddress` counts messages.
    pub ends: CauseCounters,
    /// Directions that moved to a ring, counted by the sender.
    pub upgrades: u64,
    /// Directions that moved back to TCP, counted by the sender.
    pub fallbacks: u64,
    /// Switches to a larger ring.
    pub growths: u64,
    /// SWITCHes that peers refused.
    pub refused: Refusals,
    /// SWITCHes that this guest refused.
    pub refusals: Refusals,
    /// Directions that a migration moved to a ring in pages of the other side, or
    /// back.
    pub rehomed: u64,
    /// Connections lost with their link.
    pub failed: u64,
    /// Notifications sent.
    pub notifications: u64,
    /// Batches that needed no notification because the peer was awake.
    pub suppressed: u64,
    /// Pages granted now, those in quarantine included.
    pub granted_pages: usize,
    /// Broken invariants of this crate: always 0.
    pub bugs: u64,
    /// Pages of peers mapped now.
    pub mapped_pages: usize,
    /// Pages that a peer has not given back in time. They count against its domain
    /// until it does, or is no more.
    pub quarantined_pages: usize,
    /// Regions that a peer has yet to give back and has time for.
    pub retiring: usize,
    /// Suspends that are not settled, of this guest or of a peer, for each pair of addresses.
    pub unsettled: usize,
}

impl Statistics {
    /// Returns the number of links that ended because of `cause`.
    #[must_use]
    pub fn ended(&self, cause: Cause) -> u64 {
        self.ends.get(cause)
    }
}

/// Counters of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStatistics {
    /// The peer's address.
    pub address: IpAddr,
    /// The peer's identity.
    pub uuid: Uuid,
    /// The peer's domid.
    pub domid: DomId,
    /// What was counted.
    pub counters: LinkCounters,
}

/// What a link counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Bytes of connections that were written to rings.
    pub sent: u64,
    /// Bytes of connections that were taken from rings.
    pub received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames taken.
    pub frames_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages taken.
    pub messages_received: u64,
    /// Notifications sent.
    pub notifications: u64,
    /// Batches that needed no notification.
    pub suppressed: u64,
    /// Events that came.
    pub events: u64,
    /// Events without effect.
    pub empty_events: u64,
    /// Directions that moved to a ring.
    pub upgrades: u64,
    /// Directions that moved back.
    pub fallbacks: u64,
    /// Rings that were granted.
    pub rings_granted: u64,
    /// Rings that served another connection.
    pub rings_reused: u64,
}

/// Counters of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnStatistics {
    /// Its ends.
    pub tuple: FourTuple,
    /// Bytes that the application wrote.
    pub written: u64,
    /// Bytes that the application read.
    pub read: u64,
    /// Those of them that went through rings.
    pub written_to_ring: u64,
    /// Those of them that came from rings.
    pub read_from_ring: u64,
    /// Times that a writer found the ring full.
    pub waits: u64,
    /// Whether writes go to a ring at present.
    pub sends_by_ring: bool,
    /// Whether reads come from a ring at present.
    pub receives_by_ring: bool,
}
