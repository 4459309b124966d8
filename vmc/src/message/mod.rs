//! Event and Message Manager (M3): notifications between sender and receiver,
//! and messages between guests.
//!
//! Read in this order: this file (what can be said), `codec` (as bytes),
//! `doorbell` (what an event is about), `outbox` and `inbox` (the byte streams
//! that carry messages), `serve` (what an event does), `handle` (what a
//! message does), `frame`.

pub(crate) mod codec;
pub(crate) mod doorbell;
mod frame;
mod handle;
pub(crate) mod inbox;
pub(crate) mod outbox;
mod serve;

use core::net::IpAddr;

use crate::platform::Uuid;
use crate::publisher::MemberEvent;
use crate::stream::FourTuple;

/// Bytes in front of every payload.
pub(crate) const HEADER: usize = 4;
/// Bytes of a payload, at most.
pub(crate) const PAYLOAD: usize = 2048;

/// Why a ring is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// To fall back; the connection may be upgraded again.
    Fallback,
    NoConnection,
    NoRoom,
    Unmapped,
    WrongAddress,
    Leaving,
    Other,
}

impl Reason {
    const fn number(self) -> u16 {
        match self {
            Self::Fallback => 0,
            Self::NoConnection => 1,
            Self::NoRoom => 2,
            Self::Unmapped => 3,
            Self::WrongAddress => 4,
            Self::Leaving => 5,
            Self::Other => 6,
        }
    }

    const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Fallback,
            1 => Self::NoConnection,
            2 => Self::NoRoom,
            3 => Self::Unmapped,
            4 => Self::WrongAddress,
            5 => Self::Leaving,
            _ => Self::Other,
        }
    }

    /// Whether the receiver wants no ring for this connection.
    pub(crate) const fn is_refusal(self) -> bool {
        !matches!(self, Self::Fallback | Self::Leaving)
    }
}

/// Why a link is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    Shutdown,
    Migrating,
    NoRoom,
    Answer,
}

/// Grant references, 4 bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct References<'a>(pub(crate) &'a [u8]);

impl References<'_> {
    pub(crate) fn iter(self) -> impl Iterator<Item = u32> {
        let words = self.0.as_chunks::<4>().0.iter();
        words.map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// A message. "Own" and "your" rings as docs/protocol.md has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Frame(&'a [u8]),
    Ring {
        own: u16,
        log2: u8,
        references: References<'a>,
    },
    Switch {
        own: u16,
        /// As the message's sender sees it.
        tuple: FourTuple,
        base: u64,
    },
    Confirm {
        your: u16,
        reason: Reason,
        offset: u64,
    },
    Fallback {
        own: u16,
        reason: Reason,
    },
    Done {
        your: u16,
        offset: u64,
    },
    Retire {
        own: u16,
    },
    Released {
        your: u16,
    },
    Member {
        event: MemberEvent,
        uuid: Uuid,
        address: IpAddr,
    },
    Leave(Leave),
    Ask {
        own: u16,
        log2: u8,
    },
    Home {
        your: u16,
        log2: u8,
        references: References<'a>,
    },
    /// The sender is about to migrate, or no longer.
    Migrating(bool),
}
