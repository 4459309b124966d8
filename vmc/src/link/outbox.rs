//! Messages to the peer: a byte stream in the link's ring, and what waits for
//! room in it.

use alloc::vec::Vec;

use shared_memory::Memory;

use crate::error::PeerFault;
use crate::limits::BACKLOG;
use crate::ring::{IndexLie, Producer};
use crate::wire::Message;
use crate::wire::message::HEADER;

/// Bytes of the ring that frames and news leave free for messages that must not be
/// lost.
const RESERVED: usize = 4096;

pub(crate) struct Outbox {
    pub(crate) producer: Producer,
    backlog: Vec<u8>,
    scratch: Vec<u8>,
}

impl Outbox {
    pub(crate) const fn new(producer: Producer) -> Self {
        Self {
            producer,
            backlog: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Whether messages wait for room.
    pub(crate) const fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Sends a message, now or when there is room.
    ///
    /// # Errors
    /// [`PeerFault::Stuck`] if too much waits already, [`PeerFault::Index`].
    pub(crate) fn post<M: Memory>(
        &mut self,
        memory: &M,
        message: &Message<'_>,
    ) -> Result<(), PeerFault> {
        if self.is_behind() {
            if self.backlog.len() > BACKLOG {
                return Err(PeerFault::Stuck);
            }
            message.encode(&mut self.backlog);
            self.catch_up(memory)?;
            return Ok(());
        }
        self.scratch.clear();
        message.encode(&mut self.scratch);
        let written = write_all(&mut self.producer, memory, &self.scratch)?;
        self.backlog.extend_from_slice(&self.scratch[written..]);
        Ok(())
    }

    /// Writes what waits for room; returns whether some of it went out.
    pub(crate) fn catch_up<M: Memory>(&mut self, memory: &M) -> Result<bool, PeerFault> {
        if !self.is_behind() {
            return Ok(false);
        }
        let mut written = 0;
        loop {
            written += write_all(&mut self.producer, memory, &self.backlog[written..])?;
            let left = self.backlog.len() - written;
            if left == 0 || !self.producer.wait_for_space(memory, left.min(RESERVED))? {
                break;
            }
        }
        self.backlog.drain(..written);
        Ok(written > 0)
    }

    /// Whether there is room for `len` bytes that leave enough for what must not be
    /// lost.
    pub(crate) fn has_room_beside<M: Memory>(
        &mut self,
        memory: &M,
        len: usize,
    ) -> Result<bool, PeerFault> {
        let needed = HEADER + len + RESERVED;
        if self.producer.space() < needed {
            self.producer.head(memory)?;
        }
        Ok(!self.is_behind() && self.producer.space() >= needed)
    }
}

fn write_all<M: Memory>(
    producer: &mut Producer,
    memory: &M,
    bytes: &[u8],
) -> Result<usize, IndexLie> {
    if bytes.is_empty() {
        return Ok(0);
    }
    producer.write(memory, bytes)
}
