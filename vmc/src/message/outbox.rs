//! Messages to the peer: a byte stream in the link's ring, and what has no
//! room in it yet.

use alloc::vec::Vec;

use super::{HEADER, Message};
use crate::limits::BACKLOG;
use crate::output::Cause;
use crate::ring::{IndexLie, Producer};
use shared_memory::Memory;

/// Bytes of the ring that frames leave free for messages.
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
    pub(crate) fn post<M: Memory>(
        &mut self,
        memory: &M,
        message: &Message<'_>,
    ) -> Result<(), Cause> {
        if self.is_behind() {
            if self.backlog.len() > BACKLOG {
                return Err(Cause::Stuck);
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

    /// Writes what waits for room. True where some of it went out.
    pub(crate) fn catch_up<M: Memory>(&mut self, memory: &M) -> Result<bool, Cause> {
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
            if self.producer.space() == 0 {
                // A peer that has "closed" its end of the messages: it is stuck.
                break;
            }
        }
        self.backlog.drain(..written);
        Ok(written > 0)
    }

    /// Whether a frame may go: there is room, and enough is left for messages.
    pub(crate) fn takes_frame<M: Memory>(&mut self, memory: &M, len: usize) -> Result<bool, Cause> {
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

impl From<IndexLie> for Cause {
    fn from(_: IndexLie) -> Self {
        Self::IndexLie
    }
}
