//! What the channel asks of its user.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::cause::Cause;
use crate::keys::ConnKey;
use crate::limits::OUTPUTS;
use crate::membership::Membership;
use crate::platform::Instant;
use crate::stream::Pair;
use crate::suspend::phase::Phase;

/// Something to do. The user does it, or may lose it where that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A datagram to send by UDP, from and to [`PORT`](crate::wire::PORT); may be
    /// lost.
    Datagram {
        /// From where, and to where.
        pair: Pair,
        /// Payload.
        bytes: Vec<u8>,
    },
    /// An Ethernet frame from a peer, from one of its addresses to one of this
    /// guest; may be lost. Its hardware addresses mean nothing: between two subnets
    /// they are those of a router.
    Frame(Vec<u8>),
    /// A read that found nothing may find something.
    Readable(ConnKey),
    /// A write that found no room may find some.
    Writable(ConnKey),
    /// [`Vmc::service`](crate::Vmc::service) wants to be called.
    Service(ConnKey),
    /// The connection is lost: its TCP socket is to be aborted.
    Failed(ConnKey),
    /// A guest of this host has a link between these addresses: their connections
    /// are to be tracked.
    LinkUp {
        /// The addresses.
        pair: Pair,
    },
    /// No link takes anything between these addresses any more.
    PairDown {
        /// The addresses.
        pair: Pair,
    },
    /// A link ended.
    LinkDown {
        /// The address by which the peer was first known.
        address: IpAddr,
        /// Why.
        cause: Cause,
    },
    /// A change among the guests of this host; may be lost.
    Member(Membership),
    /// A migration has reached a phase on one link; may be lost.
    Migration {
        /// The peer's address.
        address: IpAddr,
        /// The phase.
        phase: Phase,
        /// Bytes written to rings of the link so far; for [`Phase::Confirmed`],
        /// bytes of one connection that go into TCP once more.
        bytes: u64,
        /// When.
        at: Instant,
    },
}

/// Outputs that the user has not taken yet.
///
/// Their number is bounded: one of each kind for a connection, and what may be
/// lost is dropped beyond [`OUTPUTS`]. What ends a pair or a link is rare.
#[derive(Default)]
pub(crate) struct Outputs(VecDeque<Output>);

impl Outputs {
    /// Asks for something that must not be lost.
    pub(crate) fn push(&mut self, output: Output) {
        self.0.push_back(output);
    }

    /// Asks for something that may be lost.
    pub(crate) fn push_if_room(&mut self, output: Output) {
        if self.has_room() {
            self.push(output);
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < OUTPUTS
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
}
