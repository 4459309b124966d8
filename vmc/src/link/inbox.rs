//! Messages from the peer: a byte stream in the link's ring, cut into
//! messages by their headers.

use alloc::vec;
use alloc::vec::Vec;

use shared_memory::Memory;

use crate::error::PeerFault;
use crate::ring::{Consumer, Taken};
use crate::wire::message::{HEADER, PAYLOAD};

pub(crate) struct Inbox {
    pub(crate) consumer: Consumer,
    /// The incoming message, header and payload. The handler of a complete one
    /// borrows it.
    pub(crate) buffer: Vec<u8>,
    got: usize,
}

impl Inbox {
    pub(crate) fn new(consumer: Consumer) -> Self {
        Self {
            consumer,
            buffer: vec![0; HEADER + PAYLOAD],
            got: 0,
        }
    }

    /// Takes what there is of the next message. Returns its length in `buffer`
    /// once it is complete, `None` if the ring is empty before.
    pub(crate) fn next<M: Memory>(&mut self, memory: &M) -> Result<Option<usize>, PeerFault> {
        loop {
            let needed = self.needed()?;
            if self.got == needed {
                self.got = 0;
                return Ok(Some(needed));
            }
            let into = self.buffer.get_mut(self.got..needed);
            match self.consumer.read(memory, into.unwrap_or_default())? {
                Taken::Bytes(0) | Taken::Empty => return Ok(None),
                Taken::Bytes(count) => self.got += count,
                // Message streams have no end.
                Taken::Finished | Taken::Reset => return Err(PeerFault::Message),
            }
        }
    }

    /// Returns the number of bytes up to the end of the header, or of the payload
    /// once its length is known.
    fn needed(&self) -> Result<usize, PeerFault> {
        if self.got < HEADER {
            return Ok(HEADER);
        }
        let len = usize::from(u16::from_le_bytes([self.buffer[2], self.buffer[3]]));
        if self.buffer[1] != 0 || len > PAYLOAD {
            return Err(PeerFault::Message);
        }
        Ok(HEADER + len)
    }
}
