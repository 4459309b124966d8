//! The channel's part of the console command `status`.

use alloc::string::String;
use core::fmt::Write;
use core::ops::Range;

use kernel::Pfn;
use vmc::{Cause, Platform, Refusals};

use super::Channel;

/// Connections listed one by one, at most.
const LISTED: usize = 8;

impl<P: Platform> Channel<P> {
    /// Logs what the channel has counted. `frames` names the frames of a region, as a migration
    /// does.
    pub(crate) fn log_status(&self, frames: impl Fn(&P::Region) -> Range<Pfn>) {
        let all = self.vmc.statistics();
        log::info!(
            "status: vmc links {} upgrades {} fallbacks {} growths {} rehomed {} failed {} bugs {}; notifications {} \
             suppressed {}; pages granted {} mapped {} retiring {} quarantined {}; suspends \
             unsettled {}",
            all.links,
            all.upgrades,
            all.fallbacks,
            all.growths,
            all.rehomed,
            all.failed,
            all.bugs,
            all.notifications,
            all.suppressed,
            all.granted_pages,
            all.mapped_pages,
            all.retiring,
            all.quarantined_pages,
            all.unsettled,
        );
        let mut ends = String::new();
        for cause in Cause::ALL {
            // Writing to a String does not fail.
            let _ = write!(ends, " {cause:?} {}", all.ended(cause));
        }
        log::info!(
            "status: vmc ends{ends}; datagrams {} dropped {}",
            all.datagrams,
            all.datagrams_dropped
        );
        log_refusals("refused by peers", &all.refused);
        log_refusals("refused here", &all.refusals);
        for (_, link) in self.vmc.report().links() {
            let counters = link.counters;
            log::info!(
                "status: vmc peer {} domid {} uuid {}: bytes sent {} received {}; frames sent {} \
                 received {}; messages sent {} received {}; notifications {} suppressed {} events \
                 {} empty {}; upgrades {} fallbacks {} rings granted {} reused {}",
                link.address,
                link.domid,
                link.uuid,
                counters.sent,
                counters.received,
                counters.frames_sent,
                counters.frames_received,
                counters.messages_sent,
                counters.messages_received,
                counters.notifications,
                counters.suppressed,
                counters.events,
                counters.empty_events,
                counters.upgrades,
                counters.fallbacks,
                counters.rings_granted,
                counters.rings_reused,
            );
        }
        self.log_rings(frames);
        for (_, conn) in self.vmc.report().connections().take(LISTED) {
            let path = |ring: bool| if ring { "ring" } else { "TCP" };
            log::info!(
                "status: vmc conn {} to {}: written {} ({} to rings, now {}) read {} ({} from \
                 rings, now {}) waits {}",
                conn.tuple.local,
                conn.tuple.remote,
                conn.written,
                conn.written_to_ring,
                path(conn.sends_by_ring),
                conn.read,
                conn.read_from_ring,
                path(conn.receives_by_ring),
                conn.waits,
            );
        }
    }

    /// Logs which rings are in use, and where: own rings a migration sends, peers' it does not.
    fn log_rings(&self, frames: impl Fn(&P::Region) -> Range<Pfn>) {
        let mut own = String::new();
        for region in self.vmc.report().own_rings() {
            let frames = frames(region);
            let comma = if own.is_empty() { "" } else { "," };
            // Writing to a String does not fail.
            let _ = write!(own, "{comma}{:x}-{:x}", frames.start, frames.end - 1);
        }
        if own.is_empty() {
            own.push_str("none");
        }
        log::info!(
            "vmc: rings in use {} pages of peers', own pfns {own}",
            self.vmc.report().foreign_ring_pages()
        );
    }
}

fn log_refusals(title: &str, refusals: &Refusals) {
    log::info!(
        "status: vmc {title}: no connection {} unmapped {} wrong address {} leaving {}",
        refusals.no_connection,
        refusals.unmapped,
        refusals.wrong_address,
        refusals.leaving,
    );
}
