//! The MAC addresses of the neighbours: how they are learnt, doubted and forgotten.
//!
//! An entry is good for [`REACHABLE`] after the neighbour was last heard of. After that it is still
//! used, and asked about at the same time; without an answer it goes. That is RFC 4861 section 7.3
//! without its delay, for ARP too (RFC 1122 section 2.3.2.1).
//!
//! Whoever answers a question is believed. Whoever speaks unasked may add entries only to a
//! [small number](UNUSED) that the guest has not used, so no flood of them evicts another, and
//! changes an entry only if it was not heard of for [`LOCKED`], after which it is asked about.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::IpAddr;

use smoltcp::phy::{PacketMeta, TxToken};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::Card;
use super::asked::{Asked, Held};

/// How long a neighbour counts as reachable after it was heard of (`REACHABLE_TIME` of RFC 4861
/// section 10).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long an entry cannot be changed unasked (Linux: `locktime`).
const LOCKED: Duration = Duration::from_secs(1);
/// How long an entry is used before the table is looked at again.
const RECENT: Duration = Duration::from_secs(1);
/// Entries at most.
const KNOWN: usize = 512;
/// Entries at most of neighbours that the guest has sent nothing to.
const UNUSED: usize = 64;

/// What is known of a neighbour.
struct Known {
    mac: EthernetAddress,
    /// When it was last heard of; `None` if that is in doubt.
    heard: Option<Instant>,
    /// When the guest last sent something to it.
    used: Option<Instant>,
}

impl Known {
    fn is_reachable(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now < heard + REACHABLE)
    }
}

/// An answer that needs no look at the table.
#[derive(Clone, Copy)]
struct Recent {
    neighbour: IpAddr,
    mac: EthernetAddress,
    until: Instant,
}

impl Recent {
    fn holds(&self, neighbour: IpAddr, now: Instant) -> bool {
        self.neighbour == neighbour && now < self.until
    }
}

/// What somebody on the link says about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) neighbour: IpAddr,
    pub(super) mac: EthernetAddress,
    pub(super) kind: Kind,
}

/// How a claim was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In a request for an address of this guest: the neighbour is about to talk.
    Request,
    /// In an answer.
    Answer {
        /// Whether it may replace what is known (RFC 4861 section 4.4, "Override"); always, in
        /// ARP.
        replaces: bool,
    },
    /// To all, by the way.
    Notice,
}

/// The neighbours.
#[derive(Default)]
pub(super) struct Neighbours {
    known: BTreeMap<IpAddr, Known>,
    /// Entries made without a use for them, oldest first; some may have got one since.
    unused: VecDeque<IpAddr>,
    asked: Asked,
    /// Packets whose neighbour has answered.
    ready: VecDeque<(EthernetAddress, Held)>,
    /// The neighbour that was last sent to, and the one that was last heard of.
    sent_to: Option<Recent>,
    heard_of: Option<Recent>,
}

impl Neighbours {
    /// Returns the MAC address of a neighbour that is to be sent to. If it is not known, or not any
    /// more, the neighbour is asked.
    pub(super) fn find(&mut self, neighbour: IpAddr, now: Instant) -> Option<EthernetAddress> {
        if let Some(recent) = self.sent_to.filter(|recent| recent.holds(neighbour, now)) {
            return Some(recent.mac);
        }
        let Some(known) = self.known.get_mut(&neighbour) else {
            self.asked.add(neighbour, now);
            return None;
        };
        known.used = Some(now);
        if !known.is_reachable(now) {
            self.asked.add(neighbour, now);
        }
        let mac = known.mac;
        self.sent_to = Some(Recent {
            neighbour,
            mac,
            until: now + RECENT,
        });
        Some(mac)
    }

    /// Keeps a packet for a neighbour that is being asked.
    pub(super) fn hold(&mut self, neighbour: IpAddr, frame: &[u8], meta: PacketMeta) {
        self.asked.hold(neighbour, frame, meta);
    }

    /// Takes note of a packet that a neighbour sent to this guest.
    pub(super) fn hear_packet(&mut self, from: IpAddr, mac: EthernetAddress, now: Instant) {
        let is_noted = |recent: &Recent| recent.holds(from, now) && recent.mac == mac;
        if self.heard_of.as_ref().is_some_and(is_noted) {
            return;
        }
        if let Some(known) = self.known.get_mut(&from)
            && known.mac == mac
        {
            known.heard = Some(now);
        }
        // If it is nobody that the guest knows, that is worth remembering as well.
        self.heard_of = Some(Recent {
            neighbour: from,
            mac,
            until: now + RECENT,
        });
    }

    /// Takes note of what somebody on the link says.
    pub(super) fn hear(&mut self, claim: Claim, now: Instant) {
        let Claim {
            neighbour,
            mac,
            kind,
        } = claim;
        let is_asked = self.asked.contains(neighbour);
        let is_answer = is_asked && matches!(kind, Kind::Answer { .. });
        match self.known.get_mut(&neighbour) {
            Some(known) if known.mac == mac => {
                if is_answer || kind == Kind::Request {
                    known.heard = Some(now);
                }
            }
            Some(known) => {
                let replaces = kind != (Kind::Answer { replaces: false }) || known.heard.is_none();
                let is_locked = known.heard.is_some_and(|heard| now < heard + LOCKED);
                if !replaces || (is_locked && !is_answer) {
                    return;
                }
                known.mac = mac;
                // Unasked it may be a lie: the next use asks.
                known.heard = is_answer.then_some(now);
            }
            None if is_asked && kind != Kind::Notice => self.insert(neighbour, mac, now, true),
            None if kind == Kind::Request => self.insert(neighbour, mac, now, false),
            // RFC 826, RFC 4861 section 7.2.5: that is no reason to make an entry.
            None => return,
        }
        self.sent_to = None;
        self.heard_of = None;
        if is_asked && (is_answer || kind == Kind::Request) {
            let held = self.asked.remove(neighbour);
            self.ready.extend(held.into_iter().map(|held| (mac, held)));
        }
    }

    /// Makes an entry; `is_used` tells whether the guest has something for the neighbour.
    fn insert(&mut self, neighbour: IpAddr, mac: EthernetAddress, now: Instant, is_used: bool) {
        if !is_used {
            if self.unused.len() == UNUSED
                && let Some(oldest) = self.unused.pop_front()
                && self
                    .known
                    .get(&oldest)
                    .is_some_and(|known| known.used.is_none())
            {
                self.known.remove(&oldest);
            }
            self.unused.push_back(neighbour);
        }
        if self.known.len() >= KNOWN {
            let least = self.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(least) = least.map(|(neighbour, _)| *neighbour) {
                self.known.remove(&least);
            }
        }
        let known = Known {
            mac,
            heard: Some(now),
            used: is_used.then_some(now),
        };
        self.known.insert(neighbour, known);
    }

    /// Doubts all entries: they are used, and asked about at the same time.
    pub(super) fn doubt(&mut self) {
        for known in self.known.values_mut() {
            known.heard = None;
        }
        self.sent_to = None;
        self.heard_of = None;
    }

    /// Sends the packets whose neighbour has answered, as far as `card` has room.
    pub(super) fn flush<C: Card>(&mut self, card: &mut C, now: Instant) {
        while !self.ready.is_empty() {
            let Some(mut token) = card.transmit(now) else {
                return;
            };
            let Some((mac, held)) = self.ready.pop_front() else {
                return;
            };
            token.set_meta(held.meta);
            token.consume(held.frame.len(), |frame| held.write(mac, frame));
        }
    }

    /// Has `send` send the requests that are due, as long as it returns true, and forgets neighbours
    /// that have answered none of theirs.
    pub(super) fn ask(&mut self, now: Instant, send: impl FnMut(IpAddr) -> bool) {
        let known = &mut self.known;
        let mut is_changed = false;
        self.asked.send(now, send, |neighbour, since| {
            // It may have been heard of otherwise.
            let is_heard = |known: &Known| known.heard.is_some_and(|heard| heard >= since);
            if !known.get(&neighbour).is_some_and(is_heard) {
                known.remove(&neighbour);
                is_changed = true;
            }
        });
        if is_changed {
            self.sent_to = None;
        }
    }

    /// Returns when [`Self::flush`] or [`Self::ask`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let now = (!self.ready.is_empty()).then_some(Instant::ZERO);
        now.into_iter().chain(self.asked.deadline()).min()
    }

    /// Returns the number of entries, of questions, and of bytes in packets that are held.
    #[cfg(test)]
    pub(super) fn holdings(&self) -> (usize, usize, usize) {
        let ready: usize = self.ready.iter().map(|(_, held)| held.frame.len()).sum();
        let (asked, bytes) = self.asked.holdings();
        (self.known.len(), asked, bytes + ready)
    }
}
