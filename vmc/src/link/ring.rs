//! The rings of a link, and which of them have news.

use alloc::vec::Vec;

use super::pages::Pages;
use crate::keys::ConnKey;
use crate::platform::Platform;
use crate::ring::{Consumer, Producer};
use crate::wire::{RingNumber, RingSize};

/// What an own ring is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Idle,
    Conn(ConnKey),
    /// Its connection is over; the receiver has not let go of it yet.
    Over,
    /// RETIRE was sent.
    Retiring,
}

/// A ring that this guest writes.
pub(crate) struct OwnRing<P: Platform> {
    pub(crate) memory: Pages<P>,
    pub(crate) size: RingSize,
    pub(crate) producer: Producer,
    pub(crate) user: User,
    /// The ring is in the list of notifications put off.
    pub(super) noted: bool,
}

impl<P: Platform> OwnRing<P> {
    /// Returns a ring in `memory` that no connection uses.
    pub(super) fn new(memory: Pages<P>, size: RingSize) -> Self {
        Self {
            producer: producer(&memory, size, 0),
            memory,
            size,
            user: User::Idle,
            noted: false,
        }
    }

    /// Begins the ring anew for a connection, at the stream offset `base`.
    pub(crate) fn begin(&mut self, user: ConnKey, base: u64) {
        self.producer = producer(&self.memory, self.size, base);
        self.user = User::Conn(user);
    }
}

/// The peer may seal a ring in its own pages.
fn producer<P: Platform>(memory: &Pages<P>, size: RingSize, base: u64) -> Producer {
    if memory.is_own() {
        Producer::new(memory, size.geometry(), base)
    } else {
        Producer::sealable(memory, size.geometry(), base)
    }
}

/// A ring that the peer writes.
pub(crate) struct PeerRing<P: Platform> {
    /// `None` if it could not be mapped.
    pub(crate) memory: Option<Pages<P>>,
    pub(crate) size: RingSize,
    /// The connection that reads it.
    pub(crate) user: Option<ConnKey>,
    pub(crate) consumer: Option<Consumer>,
    /// The ring is in the list of notifications put off.
    pub(super) noted: bool,
    /// Bytes taken that the producer does not know of.
    pub(super) unannounced: usize,
}

impl<P: Platform> PeerRing<P> {
    /// Returns a ring that no connection uses.
    pub(super) const fn new(memory: Option<Pages<P>>, size: RingSize) -> Self {
        Self {
            memory,
            size,
            user: None,
            consumer: None,
            noted: false,
            unannounced: 0,
        }
    }

    /// Begins to read the ring for a connection, from the stream offset `base`.
    /// Returns `false` if the ring is not mapped.
    pub(crate) fn begin(&mut self, user: ConnKey, base: u64) -> bool {
        let Some(memory) = &self.memory else {
            return false;
        };
        let consumer = Consumer::new(self.size.geometry(), base);
        consumer.attach(memory);
        self.consumer = Some(consumer);
        self.user = Some(user);
        self.unannounced = 0;
        true
    }
}

/// Notifications that were put off.
#[derive(Default)]
pub(super) struct Bells {
    /// Own rings with bytes or an end that the peer does not know of.
    pub(super) data: Vec<RingNumber>,
    /// The peer's rings with space that the peer does not know of.
    pub(super) space: Vec<RingNumber>,
    /// Messages were written or taken.
    pub(super) messages: bool,
}
