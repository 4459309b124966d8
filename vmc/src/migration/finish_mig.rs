//! `finish_mig`: after a suspend the two sides of each connection name the
//! offsets up to which they have what the other wrote, in datagrams with timers
//! of their own (design rules R11, R13); from there on they use TCP.
//!
//! Who was suspended asks (RESUME) until it has an answer (RESUMED) for every
//! connection; the other side waits for that.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::channel::Vmc;
use crate::connection::Conn;
use crate::connection::handover::Epoch;
use crate::limits::{
    PEER_TIMEOUT, RESUME_AGAIN, RESUME_AGAIN_MOST, RESUME_TIMEOUT, RESUME_TIMEOUT_IDLE,
};
use crate::output::{Cause, Output, Step};
use crate::platform::{Instant, Platform, PortState};
use crate::slab::Key;
use crate::stream::FourTuple;
use crate::vms::control::{CLOSED, FROZEN};
use crate::vms::link::Link;
use crate::vms::resume::{ENTRIES, Entry, Resume};

/// A link that ended in a suspend and is not settled for every connection.
pub(crate) struct Pending {
    address: IpAddr,
    epoch: Epoch,
    /// This guest was suspended, not the peer.
    is_own: bool,
    /// When RESUME is due next, or the end of patience.
    next: Instant,
    wait: u64,
    until: Instant,
    /// The same, where no connection of this guest's waits.
    idle_until: Instant,
    /// The peer has spoken of it since.
    heard: bool,
}

impl<P: Platform> Vmc<P> {
    /// All connections of a link outlive it. Those without rings on either side
    /// have nothing to settle; where only the peer knows of a ring, it asks.
    pub(crate) fn cast_off_conns(&mut self, key: Key, link: &mut Link<P>, cause: Cause) {
        // Its peer may have connections on it that this side does not know yet.
        let mut pending = cause == Cause::Suspended;
        for at in self.stranded(key, link) {
            if self.conns.get(at).is_some_and(|conn| !conn.ended) {
                self.cast_off(at, link);
                pending = true;
            }
        }
        if pending {
            let until = self.platform.now().after(PEER_TIMEOUT);
            self.pendings.push(Pending {
                address: link.address,
                epoch: link.nonce_b,
                is_own: cause == Cause::Suspended,
                // A peer that was suspended is heard of when it goes on.
                next: until,
                wait: RESUME_AGAIN,
                until,
                idle_until: until,
                heard: false,
            });
        }
    }

    /// Tells that this guest goes on after a suspend.
    pub(crate) fn trace_resumed(&mut self) {
        let own = self.pendings.iter().filter(|pending| pending.is_own);
        let addresses: Vec<IpAddr> = own.map(|pending| pending.address).collect();
        for address in addresses {
            self.trace_step(address, Step::Resumed, 0);
        }
    }

    /// Asks for all that is not settled. The time in which those answer that this
    /// guest has left begins with the first asking; a peer that was
    /// suspended itself keeps its own.
    pub(crate) fn ask_all(&mut self, now: Instant) {
        for pending in &mut self.pendings {
            pending.next = now;
            pending.wait = RESUME_AGAIN;
            pending.idle_until = pending.idle_until.min(now.after(RESUME_TIMEOUT_IDLE));
            if pending.is_own {
                pending.until = pending.until.min(now.after(RESUME_TIMEOUT));
            }
        }
        self.resume_again(now);
    }

    /// Sends what is due, and gives up what has waited too long.
    pub(crate) fn resume_again(&mut self, now: Instant) {
        if self.parted {
            return;
        }
        let mut position = 0;
        while let Some(pending) = self.pendings.get_mut(position) {
            if now < pending.next {
                position += 1;
                continue;
            }
            let (address, epoch) = (pending.address, pending.epoch);
            let until = pending.until;
            let is_over = pending.heard || now >= pending.idle_until;
            pending.next = now.after(pending.wait).min(until);
            pending.wait = (2 * pending.wait).min(RESUME_AGAIN_MOST);
            let open: Vec<usize> = self.waiting(&epoch).collect();
            if now >= until {
                for at in &open {
                    self.give_up(*at, &epoch);
                }
            }
            if open.is_empty() && is_over || now >= until {
                self.pendings.swap_remove(position);
                continue;
            }
            // One at least, that says that this guest goes on.
            let count = open.len().div_ceil(ENTRIES).max(1);
            for some in 0..count {
                let some = open.iter().skip(some * ENTRIES).take(ENTRIES);
                let entries: Vec<Entry> = some.filter_map(|at| self.entry(*at)).collect();
                self.send_resume(address, &epoch, false, &entries);
            }
            position += 1;
        }
    }

    pub(crate) fn resume_at(&self) -> Option<Instant> {
        if self.parted {
            return None;
        }
        self.pendings.iter().map(|pending| pending.next).min()
    }

    /// Connections that a suspend left unsettled.
    fn waiting(&self, epoch: &Epoch) -> impl Iterator<Item = usize> {
        let waits = |conn: &Conn<P>| !conn.ended && conn.handovers.contains(epoch);
        self.conns
            .iter()
            .filter_map(move |(key, conn)| waits(conn).then_some(key.index as usize))
    }

    /// The other side of a connection was not heard of.
    fn give_up(&mut self, at: usize, epoch: &Epoch) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        conn.handovers.retain(|one| one != epoch);
        if conn.is_in_between() {
            self.lose(at);
        }
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let conn = self.conns.get(at)?;
        Some(Entry {
            tuple: conn.tuple,
            offset: conn.recver.confirmed,
        })
    }

    fn send_resume(&mut self, to: IpAddr, epoch: &Epoch, is_answer: bool, entries: &[Entry]) {
        let domid = self.platform.domid();
        let bytes = Resume::encode(self.config.uuid, domid, *epoch, is_answer, entries);
        self.output_if_room(Output::Datagram { to, bytes });
    }

    /// A peer that was suspended has a link again: it is asked for what is not settled.
    pub(crate) fn ask_resumed(&mut self, address: IpAddr, now: Instant) {
        for pending in &mut self.pendings {
            if pending.address == address {
                pending.next = now;
                pending.until = pending.until.min(now.after(RESUME_TIMEOUT));
                pending.idle_until = now;
            }
        }
        self.resume_again(now);
    }

    /// RESUME or RESUMED has come. False: it means nothing.
    pub(crate) fn resumed(&mut self, from: IpAddr, resume: &Resume<'_>) -> bool {
        if self.parted {
            // It is asked again, or asks again.
            return false;
        }
        let is_of = |link: &Link<P>| link.nonce_b == resume.epoch && !link.is_proving();
        let link = self.links.iter().find(|(_, link)| is_of(link));
        if let Some(index) = link.map(|(key, _)| key.index as usize) {
            if !self.has_gone(index) {
                return false;
            }
            self.read_last(index);
            self.close_link(index, Cause::PeerSuspended);
        }
        let mut answers = Vec::new();
        for entry in resume.entries() {
            let tuple = FourTuple {
                local: entry.tuple.remote,
                remote: entry.tuple.local,
            };
            if tuple.remote.ip() != from {
                self.note_wrong_address();
                continue;
            }
            let offset = self.settle_entry(tuple, &resume.epoch, entry.offset);
            answers.push(Entry { tuple, offset });
        }
        let now = self.platform.now();
        let waits = self.waiting(&resume.epoch).next().is_some();
        let is_of =
            |pending: &&mut Pending| pending.epoch == resume.epoch && pending.address == from;
        if let Some(pending) = self.pendings.iter_mut().find(is_of) {
            if !resume.is_answer && waits {
                // The peer did not name all: it is asked.
                pending.next = now;
                pending.until = pending.until.min(now.after(RESUME_TIMEOUT));
            } else if !waits {
                pending.next = now;
            }
            pending.heard = true;
        }
        if !resume.is_answer {
            self.send_resume(from, &resume.epoch, true, &answers);
        }
        self.resume_again(now);
        true
    }

    /// What the peer says of one connection; returns what we say.
    fn settle_entry(&mut self, tuple: FourTuple, epoch: &Epoch, offset: u64) -> u64 {
        let at = self.tuples.get(&tuple).and_then(|id| self.conns.find(id.0));
        // Who does not know it has taken nothing from its rings; where TCP does
        // not know it either, that ends it.
        let Some(at) = at else {
            return 0;
        };
        self.resolve(at, epoch, offset);
        self.conns.get(at).map_or(0, |conn| conn.recver.confirmed)
    }

    /// Whether the peer of a link that is up has left it without our notice.
    fn has_gone(&self, index: usize) -> bool {
        self.links.get(index).is_some_and(|link| {
            self.platform.port_state(&link.port) != PortState::Connected
                || matches!(link.peer_state(), CLOSED | FROZEN)
        })
    }
}
