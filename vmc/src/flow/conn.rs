//! A connection with a guest that is, or may turn out to be, on this host.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::retained::{Unconfirmed, Unread};
use crate::keys::LinkKey;
use crate::limits::UNSETTLED;
use crate::platform::Platform;
use crate::statistics::ConnStatistics;
use crate::stream::FourTuple;
use crate::wire::RingNumber;
use crate::wire::resume::Epoch;

/// A connection (the paper's `conn_t`).
pub(crate) struct Conn<P: Platform> {
    pub(crate) tuple: FourTuple,
    /// The open link with the peer; stale when that has ended. A connection
    /// without rings is not written to when its link ends: in pre-copy the first
    /// write to each page costs the guest a trap, and the page is sent again.
    pub(crate) link: Option<LinkKey>,
    /// The peer's domain was destroyed: if TCP has not heard all, the connection ends.
    pub(crate) is_orphan: bool,
    /// The link no longer belongs to the connection's addresses: rings in use are
    /// given up, and no other is taken.
    pub(crate) off_link: bool,
    pub(crate) sender: Sender<P>,
    pub(crate) recver: Recver<P>,
    /// It was reset, by either side, or lost with its link.
    pub(crate) ended: bool,
    /// Its application reads no longer: what comes in is thrown away.
    pub(crate) released: bool,
    /// An `Output::Service` is on its way.
    pub(crate) service_wanted: bool,
    /// Links that ended in a suspend, and whose peer has not named the offset
    /// from which it takes bytes.
    pub(crate) unsettled: heapless::Vec<Ended, UNSETTLED>,
    /// The peer has moved bytes of it by ring, so it knows the connection.
    pub(crate) is_shared: bool,
    /// This guest was suspended, and may have gone on since in another image of
    /// itself: TCP's bytes are neither written nor read before the peer has answered.
    pub(crate) is_doubted: bool,
    /// The peer does not know it any more, and this side has closed TCP: either the
    /// rest is in TCP already, or nothing more will come.
    pub(crate) is_forgotten: bool,
    /// Bytes moved when it was last checked for traffic.
    checked: u64,
}

/// A link of the connection that ended in a suspend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) epoch: Epoch,
    /// [`Conn::is_shared`] at that time. The peer may have answered before it learnt
    /// of a connection that it knows by now.
    pub(crate) was_shared: bool,
}

/// How far the end of a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fin {
    /// The application may write.
    Open,
    /// The application has finished. FIN is in the ring, if there is one; TCP is
    /// not closed yet.
    Wanted,
    /// TCP was closed.
    Sent,
}

/// Where the next byte of a sender goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Into TCP.
    Tcp,
    /// Into the newest ring.
    Ring,
    /// Nowhere before the receiver has confirmed every ring in use.
    Unconfirmed,
    /// Nowhere before the residue is in TCP.
    Residue,
}

/// One direction as its writer sees it (the paper's `sender_t`).
pub(crate) struct Sender<P: Platform> {
    pub(crate) path: Path,
    /// Own rings in use, the oldest first.
    pub(crate) rings: heapless::Vec<RingNumber, 2>,
    /// Stream offset behind the last byte that the application wrote.
    pub(crate) written: u64,
    /// Bytes that were in a ring and that the receiver has not consumed: they go
    /// into TCP before anything new.
    pub(crate) residue: Vec<u8>,
    /// How many bytes of the residue are in TCP already.
    pub(crate) resent: usize,
    /// Rings that outlived their link, the oldest first: the peer has not named
    /// its offset.
    pub(crate) unconfirmed: Vec<Unconfirmed<P>>,
    /// The largest offset that the peer has named for bytes that it took from rings.
    pub(crate) heard: u64,
    pub(crate) fin: Fin,
    /// The receiver does not want a ring.
    pub(crate) refused: bool,
    /// A write found no room, and the user was not told of room since.
    pub(crate) blocked: bool,
    /// How often this ring was full.
    pub(crate) waits: u8,
    /// Writes before a ring is tried again.
    pub(crate) writes_before_retry: u16,
    pub(crate) by_ring: u64,
    pub(crate) all_waits: u64,
}

/// A ring that a receiver reads, or will.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    /// The peer's number of it.
    pub(crate) ring: RingNumber,
    /// Stream offset of its first byte.
    pub(crate) base: u64,
}

/// One direction as its reader sees it (the paper's `recver_t`).
pub(crate) struct Recver<P: Platform> {
    /// Rings in use, the oldest first. The bytes before the first one's base, or
    /// all bytes if there is no ring, come from TCP.
    pub(crate) rings: heapless::Vec<Source, 2>,
    /// Bytes that arrived in rings that are read no longer; they come before the
    /// rings in use.
    pub(crate) unread: VecDeque<Unread<P>>,
    /// Stream offset of the next byte.
    pub(crate) received: u64,
    /// The end was reached.
    pub(crate) finished: bool,
    /// A read found nothing, and the user was not told of anything since.
    pub(crate) blocked: bool,
    /// The stream offset that was named last: bytes from there on come from TCP
    /// if no ring is in use.
    pub(crate) confirmed: u64,
    pub(crate) by_ring: u64,
}

impl<P: Platform> Conn<P> {
    pub(crate) fn new(tuple: FourTuple, sent: u64, received: u64) -> Self {
        Self {
            tuple,
            link: None,
            is_orphan: false,
            off_link: false,
            sender: Sender {
                path: Path::Tcp,
                rings: heapless::Vec::new(),
                written: sent,
                residue: Vec::new(),
                resent: 0,
                unconfirmed: Vec::new(),
                heard: 0,
                fin: Fin::Open,
                refused: false,
                // The application may have begun to wait before it was tracked.
                blocked: true,
                waits: 0,
                writes_before_retry: 0,
                by_ring: 0,
                all_waits: 0,
            },
            recver: Recver {
                rings: heapless::Vec::new(),
                unread: VecDeque::new(),
                received,
                finished: false,
                blocked: true,
                confirmed: 0,
                by_ring: 0,
            },
            ended: false,
            released: false,
            service_wanted: false,
            unsettled: heapless::Vec::new(),
            is_shared: false,
            is_doubted: false,
            is_forgotten: false,
            checked: 0,
        }
    }

    /// Returns the bytes moved so far, both directions together.
    const fn moved(&self) -> u64 {
        self.sender.written.wrapping_add(self.recver.received)
    }

    /// Whether the connection has moved bytes since the last check.
    pub(crate) const fn has_traffic(&self) -> bool {
        self.checked != self.moved()
    }

    /// Checks for traffic: returns whether there was any since the last check.
    pub(crate) const fn check_traffic(&mut self) -> bool {
        let has_traffic = self.has_traffic();
        // Not written to without need: see `link`.
        if has_traffic {
            self.checked = self.moved();
        }
        has_traffic
    }

    /// Whether a direction depends on shared memory.
    pub(crate) fn uses_rings(&self) -> bool {
        !self.sender.rings.is_empty() || !self.recver.rings.is_empty()
    }

    /// Returns the ring with the next byte to read, if the next byte is in one.
    pub(crate) fn reads_ring(&self) -> Option<Source> {
        let recver = &self.recver;
        let source = recver.rings.first().copied()?;
        (recver.unread.is_empty() && recver.received >= source.base).then_some(source)
    }

    pub(crate) fn statistics(&self) -> ConnStatistics {
        let first = self.recver.rings.first();
        ConnStatistics {
            tuple: self.tuple,
            written: self.sender.written,
            read: self.recver.received,
            written_to_ring: self.sender.by_ring,
            read_from_ring: self.recver.by_ring,
            waits: self.sender.all_waits,
            sends_by_ring: self.sender.path == Path::Ring,
            receives_by_ring: first.is_some_and(|source| self.recver.received >= source.base),
        }
    }
}

impl<P: Platform> Recver<P> {
    /// Returns the offset up to which this receiver has consumed a ring, which is
    /// what it confirms: the base if it has not come to the ring yet.
    pub(crate) const fn consumed(&self, source: Source) -> u64 {
        if self.received > source.base {
            self.received
        } else {
            source.base
        }
    }
}
