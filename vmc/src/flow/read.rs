//! Data Transfer Manager (M2), the reading half: which path has the next byte,
//! and when a ring is done with.

use super::conn::Source;
use super::view::{Flow, NO_LINK};
use super::write::{Attempt, CallError};
use crate::error::{Bug, Failure, PeerFault};
use crate::limits::{ATTEMPTS, DISCARD};
use crate::output::Output;
use crate::platform::Platform;
use crate::ring::Taken;
use crate::stream::{Received, StreamEnd, Tcp};
use crate::wire::{Message, RingNumber};

impl<P: Platform> Flow<'_, P> {
    /// Reads into `into` from the path that has the next byte.
    pub(crate) fn read<T: Tcp>(
        &mut self,
        tcp: &mut T,
        into: &mut [u8],
    ) -> Result<Received, CallError> {
        if into.is_empty() {
            return Ok(Received::Nothing);
        }
        for _ in 0..ATTEMPTS {
            let recver = &self.conn.recver;
            if recver.finished {
                return Ok(Received::Finished);
            }
            let unread = recver.unread.front();
            if unread.is_some_and(|unread| recver.received >= unread.start) {
                match self.read_unread(into)? {
                    0 => continue,
                    count => return Ok(Received::Bytes(count)),
                }
            }
            let source = self.conn.reads_ring();
            let attempt = match source {
                Some(source) => self.read_ring(source, into)?,
                None if self.conn.is_doubted => Attempt::Block,
                None => self.read_tcp(tcp, into)?,
            };
            match attempt {
                Attempt::Done(received) => return Ok(received),
                Attempt::Again => {}
                Attempt::Block => {
                    self.conn.recver.blocked = true;
                    if source.is_none() && self.conn.is_forgotten && !self.conn.is_doubted {
                        self.end();
                        return Err(StreamEnd::Reset.into());
                    }
                    if source.is_some() && tcp.receive(&mut [])? == Received::Finished {
                        // A lie: TCP is closed only behind the ring's end.
                        self.end();
                        return Err(StreamEnd::Reset.into());
                    }
                    return Ok(Received::Nothing);
                }
            }
        }
        // The peer's moves used the attempts up: the caller tries again.
        self.conn.recver.blocked = false;
        if self.conn.released {
            self.want_service();
        } else {
            self.guest.outputs.push(Output::Readable(self.key));
        }
        Ok(Received::Nothing)
    }

    /// Reads bytes that were retained when their ring ended; 0 if there are none
    /// left.
    fn read_unread(&mut self, into: &mut [u8]) -> Result<usize, CallError> {
        let recver = &mut self.conn.recver;
        let received = recver.received;
        let Some(unread) = recver.unread.front_mut() else {
            return Ok(0);
        };
        let mut count = 0;
        if received < unread.end {
            let Ok(read) = unread.read(received, into) else {
                self.end();
                return Err(StreamEnd::Reset.into());
            };
            count = read;
        }
        let is_over = received + count as u64 >= unread.end;
        recver.received += count as u64;
        recver.by_ring += count as u64;
        if is_over {
            self.drop_first_unread();
            self.finish_drained_ring();
        }
        Ok(count)
    }

    fn read_ring(
        &mut self,
        source: Source,
        into: &mut [u8],
    ) -> Result<Attempt<Received>, CallError> {
        let recver = &mut self.conn.recver;
        let end = recver.rings.get(1).map_or(u64::MAX, |next| next.base);
        let link = self.link.as_deref_mut();
        let link = link.ok_or(NO_LINK)?;
        let ring = link.peer_ring_mut(source.ring);
        let ring = ring.ok_or(Bug("a ring that is read exists"))?;
        let (Some(consumer), Some(memory)) = (&mut ring.consumer, &ring.memory) else {
            return Err(Bug("a ring that is read is mapped").into());
        };
        match consumer.read_until(memory, into, end)? {
            Taken::Bytes(count) => {
                recver.received += count as u64;
                recver.by_ring += count as u64;
                let is_drained = recver.received == end;
                link.counters.received += count as u64;
                link.note_space(source.ring, count, &self.guest.platform);
                if is_drained {
                    self.finish_drained_ring();
                }
                Ok(Attempt::Done(Received::Bytes(count)))
            }
            Taken::Empty if consumer.wait_for_data(memory)? => Ok(Attempt::Again),
            Taken::Empty => Ok(Attempt::Block),
            Taken::Finished if end == u64::MAX => {
                recver.finished = true;
                self.finish_first_ring();
                Ok(Attempt::Done(Received::Finished))
            }
            // An end before a larger ring's base.
            Taken::Finished => Err(PeerFault::Index.into()),
            Taken::Reset => {
                self.end();
                Err(StreamEnd::Reset.into())
            }
        }
    }

    /// Reads TCP, up to the base of what comes behind it.
    fn read_tcp<T: Tcp>(
        &mut self,
        tcp: &mut T,
        into: &mut [u8],
    ) -> Result<Attempt<Received>, StreamEnd> {
        let recver = &mut self.conn.recver;
        let next = match recver.unread.front() {
            Some(unread) => Some(unread.start),
            None => recver.rings.first().map(|source| source.base),
        };
        let left = next.map_or(u64::MAX, |base| base - recver.received);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        match tcp.receive(&mut into[..limit])? {
            Received::Bytes(count) => {
                recver.received += count as u64;
                Ok(Attempt::Done(Received::Bytes(count)))
            }
            Received::Nothing => Ok(Attempt::Block),
            Received::Finished if next.is_none() => {
                recver.finished = true;
                Ok(Attempt::Done(Received::Finished))
            }
            // Bytes are missing that the peer claims to have put into TCP.
            Received::Finished => {
                tcp.abort();
                Err(StreamEnd::Reset)
            }
        }
    }

    /// Lets go of the first ring if it was drained to the base of the next one.
    pub(crate) fn finish_drained_ring(&mut self) {
        let recver = &self.conn.recver;
        let next = recver.rings.get(1);
        if next.is_some_and(|next| recver.received >= next.base) {
            self.finish_first_ring();
        }
    }

    /// DONE with the first ring of the receiver.
    fn finish_first_ring(&mut self) {
        let recver = &mut self.conn.recver;
        if recver.rings.is_empty() {
            return;
        }
        let your = recver.rings.remove(0).ring;
        let offset = recver.received;
        recver.confirmed = offset;
        if let Some(link) = self.link.as_deref_mut() {
            link.let_go_of_ring(your, &Message::Done { your, offset });
        }
    }

    /// The peer has written to one of its rings: wakes the reader if it waits for
    /// that. Returns whether it does.
    pub(crate) fn data_arrived(&mut self, number: RingNumber) -> Result<bool, Failure> {
        let recver = &self.conn.recver;
        let is_next = |source: &Source| source.ring == number && recver.received >= source.base;
        if !recver.blocked || !recver.rings.first().is_some_and(is_next) {
            return Ok(false);
        }
        let ring = self.link()?.peer_ring_mut(number);
        let ring = ring.ok_or(Bug("a ring that is read exists"))?;
        let (Some(consumer), Some(memory)) = (&mut ring.consumer, &ring.memory) else {
            return Err(Bug("a ring that is read is mapped").into());
        };
        let has_data = consumer.wait_for_data(memory)?;
        if has_data {
            self.wake_reader();
        }
        Ok(has_data)
    }

    /// The peer has taken bytes from one of our rings: wakes the writer if it
    /// waits for that. Returns whether it does.
    pub(crate) fn space_freed(&mut self, number: RingNumber) -> Result<bool, Failure> {
        let sender = &self.conn.sender;
        if !sender.blocked || sender.rings.last() != Some(&number) {
            return Ok(false);
        }
        let key = self.key;
        let ring = self.link()?.own_ring_of(number, key);
        let ring = ring.ok_or(Bug("a sender's ring is in use by it"))?;
        let wanted = ring.producer.capacity() / 2;
        let has_space = ring.producer.wait_for_space(&ring.memory, wanted)?;
        if has_space {
            self.wake_writer();
        }
        Ok(has_space)
    }

    /// Throws away what comes in for a connection without a reader.
    pub(super) fn discard<T: Tcp>(&mut self, tcp: &mut T) -> Result<(), CallError> {
        let mut into = self.guest.borrow_discard();
        let mut thrown = 0;
        let mut result = Ok(());
        while thrown < DISCARD {
            match self.read(tcp, &mut into) {
                Ok(Received::Bytes(count)) => thrown += count,
                Ok(Received::Nothing | Received::Finished) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.guest.return_discard(into);
        if thrown >= DISCARD {
            self.want_service();
        }
        result
    }
}
