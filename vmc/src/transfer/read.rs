//! Reads: which path has the next byte, and when a ring is done with.

use super::{ATTEMPTS, Attempt};
use crate::channel::Vmc;
use crate::connection::{Conn, ConnId};
use crate::limits::DISCARD;
use crate::message::Message;
use crate::output::Output;
use crate::platform::Platform;
use crate::ring::Taken;
use crate::stream::{Received, StreamEnd, Tcp};

impl<P: Platform> Vmc<P> {
    /// Reads into `into`, which is not empty, from the path that has the next
    /// byte.
    ///
    /// # Errors
    /// [`StreamEnd`].
    pub fn read<T: Tcp>(
        &mut self,
        conn: ConnId,
        tcp: &mut T,
        into: &mut [u8],
    ) -> Result<Received, StreamEnd> {
        let at = self.live(conn)?;
        if into.is_empty() {
            return Ok(Received::Nothing);
        }
        for _ in 0..ATTEMPTS {
            let Some(conn) = self.conns.get_mut(at) else {
                return Err(StreamEnd::Reset);
            };
            let recver = &conn.recver;
            if recver.finished {
                return Ok(Received::Finished);
            }
            if let Some(part) = conn.rest.front_mut()
                && recver.received >= part.start
            {
                match self.read_part(at, into)? {
                    0 => continue,
                    count => return Ok(Received::Bytes(count)),
                }
            }
            let from_ring = conn.rest.is_empty()
                && recver
                    .rings
                    .first()
                    .is_some_and(|source| recver.received >= source.base);
            let attempt = if from_ring {
                self.read_ring(at, into)?
            } else {
                read_tcp(conn, tcp, into)?
            };
            match attempt {
                Attempt::Done(received) => return Ok(received),
                Attempt::Again => {}
                Attempt::Block => {
                    self.set_blocked(at, |conn| &mut conn.recver.blocked);
                    if from_ring && tcp.receive(&mut [])? == Received::Finished {
                        // TCP is closed only behind the ring's end: a lie.
                        self.end_conn(at);
                        return Err(StreamEnd::Reset);
                    }
                    return Ok(Received::Nothing);
                }
            }
        }
        self.emit_once(at, Output::Readable(conn));
        Ok(Received::Nothing)
    }

    /// Bytes that were kept when their ring ended; 0 where there are none left.
    fn read_part(&mut self, at: usize, into: &mut [u8]) -> Result<usize, StreamEnd> {
        let Some(conn) = self.conns.get_mut(at) else {
            return Err(StreamEnd::Reset);
        };
        let received = conn.recver.received;
        let Some(part) = conn.rest.front_mut() else {
            return Ok(0);
        };
        let count = if received < part.end {
            let Ok(count) = part.read(received, into) else {
                self.end_conn(at);
                return Err(StreamEnd::Reset);
            };
            count
        } else {
            0
        };
        let is_over = received + count as u64 >= part.end;
        conn.recver.received += count as u64;
        conn.recver.by_ring += count as u64;
        if is_over {
            self.end_part(at);
            self.catch_up_reader(at);
        }
        Ok(count)
    }

    fn read_ring(&mut self, at: usize, into: &mut [u8]) -> Result<Attempt<Received>, StreamEnd> {
        let Some(conn) = self.conns.get_mut(at) else {
            return Err(StreamEnd::Reset);
        };
        let recver = &mut conn.recver;
        let index = conn.link.and_then(|key| self.links.find(key));
        let (Some(index), Some(&source)) = (index, recver.rings.first()) else {
            return Err(StreamEnd::Reset);
        };
        let end = recver.rings.get(1).map_or(u64::MAX, |next| next.base);
        let Some(link) = self.links.get_mut(index) else {
            return Err(StreamEnd::Reset);
        };
        let Some(Some(ring)) = link.peers.get_mut(usize::from(source.ring)) else {
            return Err(StreamEnd::Reset);
        };
        let Some((consumer, mapping)) = ring.consumer.as_mut().zip(ring.memory.as_ref()) else {
            return Err(StreamEnd::Reset);
        };
        match consumer.read_until(mapping, into, end) {
            Ok(Taken::Bytes(count)) => {
                recver.received += count as u64;
                recver.by_ring += count as u64;
                link.counters.received += count as u64;
                link.note_space(source.ring, count, &self.platform);
                if recver.received == end {
                    self.catch_up_reader(at);
                }
                Ok(Attempt::Done(Received::Bytes(count)))
            }
            Ok(Taken::Empty) => match consumer.wait_for_data(mapping) {
                Ok(true) => Ok(Attempt::Again),
                Ok(false) => Ok(Attempt::Block),
                Err(_) => Err(self.caught(index)),
            },
            Ok(Taken::Finished) if end == u64::MAX => {
                recver.finished = true;
                self.done_with_first(at);
                Ok(Attempt::Done(Received::Finished))
            }
            // An end in front of a larger ring.
            Ok(Taken::Finished) => Err(self.caught(index)),
            Ok(Taken::Reset) => {
                self.end_conn(at);
                Err(StreamEnd::Reset)
            }
            Err(_) => Err(self.caught(index)),
        }
    }

    /// Lets go of a first ring that was drained to the base of the next one.
    pub(crate) fn catch_up_reader(&mut self, at: usize) {
        let drained = self.conns.get(at).is_some_and(|conn| {
            let recver = &conn.recver;
            let next = recver.rings.get(1);
            next.is_some_and(|next| recver.received >= next.base)
        });
        if drained {
            self.done_with_first(at);
        }
    }

    /// DONE with the first ring of a receiver.
    fn done_with_first(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.recver.rings.is_empty() {
            return;
        }
        let source = conn.recver.rings.remove(0);
        let offset = conn.recver.received;
        conn.recver.confirmed = offset;
        if let Some(link) = conn.link.and_then(|key| self.links.named_mut(key)) {
            link.let_go(
                source.ring,
                &Message::Done {
                    your: source.ring,
                    offset,
                },
            );
        }
    }

    /// Throws away what comes in for a connection that nobody reads.
    pub(crate) fn throw_away<T: Tcp>(&mut self, conn: ConnId, at: usize, tcp: &mut T) {
        let mut into = core::mem::take(&mut self.discard);
        let mut thrown = 0;
        while thrown < DISCARD {
            match self.read(conn, tcp, &mut into) {
                Ok(Received::Bytes(count)) => thrown += count,
                _ => break,
            }
        }
        self.discard = into;
        if thrown >= DISCARD {
            self.want_advance(at);
        }
    }
}

/// Reads TCP, up to the base of the ring that comes behind it.
fn read_tcp<P: Platform, T: Tcp>(
    conn: &mut Conn<P>,
    tcp: &mut T,
    into: &mut [u8],
) -> Result<Attempt<Received>, StreamEnd> {
    let recver = &mut conn.recver;
    let next = match conn.rest.front() {
        Some(part) => Some(part.start),
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
        // Bytes are missing that the peer said it had put into TCP.
        Received::Finished => {
            tcp.abort();
            Err(StreamEnd::Reset)
        }
    }
}
