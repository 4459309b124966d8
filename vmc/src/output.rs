//! What the channel wants of its user.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::connection::ConnId;
use crate::platform::Instant;
use crate::publisher::Membership;

/// Why a link is down. Also an index of the counters of lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// This guest left.
    Left,
    /// The peer left: it shuts down.
    PeerLeft,
    /// The peer left: it is about to migrate.
    PeerMigrating,
    /// The peer is dead, or closed the link without a word.
    Gone,
    /// A new link to the same guest, or to the same address, took its place.
    Replaced,
    /// This guest has become another domain.
    Renewed,
    /// This guest is being suspended.
    Suspended,
    /// The peer was suspended.
    PeerSuspended,
    /// The peer moved an index of a ring where it cannot be.
    IndexLie,
    /// The peer sent a message that means nothing.
    BadMessage,
    /// The peer rang without end.
    Flood,
    /// The peer did not take its messages.
    Stuck,
    /// The peer named an address that is not its own. Counted only: it does
    /// not end a link.
    WrongAddress,
}

impl Cause {
    /// Every cause, in the order of the counters.
    pub const ALL: [Self; 13] = [
        Self::Left,
        Self::PeerLeft,
        Self::PeerMigrating,
        Self::Gone,
        Self::Replaced,
        Self::Renewed,
        Self::Suspended,
        Self::PeerSuspended,
        Self::IndexLie,
        Self::BadMessage,
        Self::Flood,
        Self::Stuck,
        Self::WrongAddress,
    ];

    /// Number of causes.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether the peer lied or misbehaved.
    #[must_use]
    pub const fn is_lie(self) -> bool {
        self as usize >= Self::IndexLie as usize
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::PeerLeft => "the peer shuts down",
            Self::PeerMigrating => "the peer migrates",
            Self::Gone => "the peer is gone",
            Self::Replaced => "a new link took its place",
            Self::Renewed => "this guest is another domain now",
            Self::Suspended => "this guest is suspended",
            Self::PeerSuspended => "the peer is suspended",
            Self::IndexLie => "the peer lied about an index",
            Self::BadMessage => "the peer sent a message that means nothing",
            Self::Flood => "the peer rings without end",
            Self::Stuck => "the peer does not take its messages",
            Self::WrongAddress => "the peer named an address that is not its own",
        })
    }
}

/// How far a hand-over has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This guest has heard that it is to migrate.
    Notice,
    /// What it writes lies in pages of its peer.
    Rehomed,
    /// It is being suspended, or its peer was.
    Frozen,
    /// It goes on, and names its offsets.
    Resumed,
    /// The peer has named its offset of a connection.
    Confirmed,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Rehomed => "rehomed",
            Self::Frozen => "frozen",
            Self::Resumed => "resumed",
            Self::Confirmed => "confirmed",
        })
    }
}

/// Something to do. The user does it, or loses it where that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To be sent by UDP, from and to [`PORT`](crate::PORT); may be lost.
    Datagram {
        /// Whom it is for.
        to: IpAddr,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// An Ethernet frame that a peer sent; its source is the peer. May be lost.
    Frame(Vec<u8>),
    /// A read that found nothing may find something.
    Readable(ConnId),
    /// A write that found no room may find some.
    Writable(ConnId),
    /// [`Vmc::advance`](crate::Vmc::advance) is wanted.
    Advance(ConnId),
    /// The connection is lost: its TCP is to be aborted.
    Failed(ConnId),
    /// A guest of this host has a link: its connections are to be tracked.
    LinkUp {
        /// Its address.
        address: IpAddr,
    },
    /// A link ended.
    LinkDown {
        /// The peer's address.
        address: IpAddr,
        /// Why.
        cause: Cause,
    },
    /// A change among the guests of this host.
    Member(Membership),
    /// A migration has come to another step, on one link. For the trace; may be lost.
    Handover {
        /// The peer's address.
        address: IpAddr,
        /// To which.
        step: Step,
        /// Bytes written to rings of the link so far; for
        /// [`Step::Confirmed`], those of a connection that go into TCP once more.
        bytes: u64,
        /// When.
        at: Instant,
    },
}
