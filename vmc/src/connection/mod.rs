//! Connection Manager (M1): `conn_t` with its `sender_t` and `recver_t`.
//!
//! Read in this order: this file (what a connection is), `upgrade` (a
//! direction moves to a ring, or to a larger one), `fallback` and `resend`
//! (and back to TCP), `handover` (its link ends in a suspend), `close` (FIN,
//! RESET, and what is left when the user lets go).

mod close;
mod fallback;
pub(crate) mod handover;
pub(crate) mod resend;
mod upgrade;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub(crate) use self::handover::{Epochs, Kept, Part};
use crate::channel::Vmc;
use crate::platform::Platform;
use crate::slab::Key;
use crate::stream::{FourTuple, StreamEnd};

/// Name of a connection; stale once it was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) Key);

impl ConnId {
    /// A small number that no other present connection has.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.index as usize
    }
}

/// A connection with a guest that is, or may turn out to be, on this host.
pub(crate) struct Conn<P: Platform> {
    pub(crate) tuple: FourTuple,
    /// The open link with the peer; stale when that has ended. A connection
    /// without rings is not written to when its link ends: in pre-copy each page
    /// written to for the first time costs the guest a trap, and is sent again.
    pub(crate) link: Option<Key>,
    pub(crate) sender: Sender,
    pub(crate) recver: Recver,
    /// It was reset, by either side, or lost with its link.
    pub(crate) ended: bool,
    /// Nobody reads any more: what comes is thrown away.
    pub(crate) released: bool,
    /// An `Output::Advance` is on its way.
    pub(crate) advancing: bool,
    /// Links that ended in a suspend, and whose peer has not named the offset
    /// that it goes on from.
    pub(crate) handovers: Epochs,
    /// Bytes that it had moved when it was last looked at.
    pub(crate) looked: u64,
    /// Rings of its sender that outlived their link.
    pub(crate) kept: Vec<Kept<P>>,
    /// What its receiver has from rings that it reads no longer; it comes
    /// before anything else.
    pub(crate) rest: VecDeque<Part<P>>,
}

/// Ring numbers in use by one direction, oldest first.
pub(crate) type Rings = heapless::Vec<u16, 2>;

/// How far the end of a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fin {
    /// The application may write.
    Open,
    /// The application has finished. FIN is in the ring, if there is one;
    /// TCP is not closed yet.
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
pub(crate) struct Sender {
    pub(crate) path: Path,
    /// Own rings in use.
    pub(crate) rings: Rings,
    /// Stream offset behind the last byte that the application wrote.
    pub(crate) written: u64,
    /// What goes into TCP before anything new: bytes that were in a ring and
    /// that the receiver has not consumed.
    pub(crate) residue: Vec<u8>,
    /// How much of it is in TCP already.
    pub(crate) resent: usize,
    pub(crate) fin: Fin,
    /// The receiver does not want a ring.
    pub(crate) refused: bool,
    /// A write found no room, and nobody was told of room since.
    pub(crate) blocked: bool,
    /// The receiver takes nothing more: what is written is thrown away.
    pub(crate) sunk: bool,
    /// Times that this ring was full.
    pub(crate) waits: u8,
    /// Writes before a ring is tried again.
    pub(crate) hold: u16,
    pub(crate) by_ring: u64,
    pub(crate) all_waits: u64,
}

/// A ring that a receiver reads, or will.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    /// The peer's number of it.
    pub(crate) ring: u16,
    /// Stream offset from which on it is read.
    pub(crate) base: u64,
}

/// One direction as its reader sees it (the paper's `recver_t`).
pub(crate) struct Recver {
    /// Rings in use, in order. The bytes before the first one's base, or all
    /// where there is none, come from TCP.
    pub(crate) rings: heapless::Vec<Source, 2>,
    /// Stream offset of the next byte.
    pub(crate) received: u64,
    /// The end was reached.
    pub(crate) finished: bool,
    /// A read found nothing, and nobody was told of anything since.
    pub(crate) blocked: bool,
    /// The stream offset that it has named last: from there on, where it reads
    /// no ring, bytes come from TCP.
    pub(crate) confirmed: u64,
    pub(crate) by_ring: u64,
}

impl<P: Platform> Conn<P> {
    pub(crate) fn new(tuple: FourTuple, sent: u64, received: u64) -> Self {
        Self {
            tuple,
            link: None,
            sender: Sender {
                path: Path::Tcp,
                rings: Rings::new(),
                written: sent,
                residue: Vec::new(),
                resent: 0,
                fin: Fin::Open,
                refused: false,
                // Whoever waits may have begun to before there was this.
                blocked: true,
                sunk: false,
                waits: 0,
                hold: 0,
                by_ring: 0,
                all_waits: 0,
            },
            recver: Recver {
                rings: heapless::Vec::new(),
                received,
                finished: false,
                blocked: true,
                confirmed: 0,
                by_ring: 0,
            },
            ended: false,
            released: false,
            advancing: false,
            handovers: Epochs::new(),
            looked: 0,
            kept: Vec::new(),
            rest: VecDeque::new(),
        }
    }

    /// Bytes that it has moved, both ways together.
    pub(crate) const fn moved(&self) -> u64 {
        self.sender.written.wrapping_add(self.recver.received)
    }

    /// Whether it has moved bytes since the last look.
    pub(crate) fn look(&mut self) -> bool {
        let moved = self.moved();
        let has_moved = self.looked != moved;
        if has_moved {
            self.looked = moved;
        }
        has_moved
    }

    /// Whether a direction of it depends on shared memory.
    pub(crate) fn uses_rings(&self) -> bool {
        !self.sender.rings.is_empty() || !self.recver.rings.is_empty()
    }
}

impl Recver {
    /// What this receiver has consumed of a ring, which is what it confirms:
    /// nothing, where it has not come to it yet.
    pub(crate) const fn consumed(&self, source: Source) -> u64 {
        if self.received > source.base {
            self.received
        } else {
            source.base
        }
    }
}

impl<P: Platform> Vmc<P> {
    /// The place of a connection that has not ended.
    pub(crate) fn live(&self, conn: ConnId) -> Result<usize, StreamEnd> {
        let index = self.conns.find(conn.0).ok_or(StreamEnd::Reset)?;
        match self.conns.get(index) {
            Some(conn) if !conn.ended => Ok(index),
            _ => Err(StreamEnd::Reset),
        }
    }

    /// The present name of the connection at `index`.
    pub(crate) fn conn_id(&self, index: usize) -> Option<ConnId> {
        self.conns.key(index).map(ConnId)
    }
}
