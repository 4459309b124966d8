//! Messages from the peer: a byte stream in the link's ring, cut into
//! messages by their headers.

use alloc::vec;
use alloc::vec::Vec;

use super::{HEADER, PAYLOAD};
use crate::output::Cause;
use crate::ring::{Consumer, Taken};
use shared_memory::Memory;

pub(crate) struct Inbox {
    pub(crate) consumer: Consumer,
    /// The message that comes in, header and payload. The handler of a
    /// complete one borrows it.
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

    /// Takes what there is of the next message. Some: it is complete, in
    /// `buffer` with so many bytes. None: nothing is left in the ring.
    pub(crate) fn next<M: Memory>(&mut self, memory: &M) -> Result<Option<usize>, Cause> {
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
                // These streams have no end.
                Taken::Finished | Taken::Reset => return Err(Cause::BadMessage),
            }
        }
    }

    /// Bytes up to the end of the header, or, where that is known, of the payload.
    fn needed(&self) -> Result<usize, Cause> {
        if self.got < HEADER {
            return Ok(HEADER);
        }
        let len = usize::from(u16::from_le_bytes([self.buffer[2], self.buffer[3]]));
        if self.buffer[1] != 0 || len > PAYLOAD {
            return Err(Cause::BadMessage);
        }
        Ok(HEADER + len)
    }
}
