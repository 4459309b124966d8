//! A TCP connection with the victim's echo service, moved onto rings by hand.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use embedded_io_async::{Read, Write};
use kernel::grant::{Access, GrantedRegion, Mapping};
use kernel::time;
use netstack::{Buffers, TcpOptions, TcpStream};

use crate::Scene;
use crate::link::{Link, PATIENCE};
use crate::ring::{Consumer, Owned, Place, Producer};
use crate::wire::{self, Ends, u16_at, u32_at, u64_at};

/// How long a handshake may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The TCP port of the echo service.
const ECHO: u16 = 7;

/// The size of each of a connection's buffers: some attacks leave many connections.
const BUFFER: usize = 16 * 1024;

/// log2 of the data pages of this guest's rings.
const LOG2: u8 = 2;

/// A ring owned by this guest.
pub(crate) type Own = Owned<GrantedRegion, Producer>;
/// A ring owned by the victim.
pub(crate) type Theirs = Owned<Mapping, Consumer>;

/// A connection and its two rings.
pub(crate) struct Talk {
    pub(crate) link: Link,
    pub(crate) stream: TcpStream,
    pub(crate) own: Own,
    pub(crate) theirs: Theirs,
}

impl Scene {
    pub(crate) async fn connect(&self) -> Result<TcpStream, String> {
        self.connect_at(self.victim).await
    }

    /// Connects to the victim's echo service at one of its addresses.
    pub(crate) async fn connect_at(&self, at: IpAddr) -> Result<TcpStream, String> {
        let options = TcpOptions {
            buffers: Buffers::both(BUFFER),
            ..TcpOptions::default()
        };
        let connected = self
            .network
            .connect_with((at, ECHO).into(), CONNECT, options);
        connected
            .await
            .map_err(|error| format!("echo at {at}: {error}"))
    }

    /// Makes a link, and a connection on it that uses rings in both directions, with 100 bytes
    /// echoed.
    pub(crate) async fn talk(&self) -> Result<Talk, String> {
        self.talk_at(self.victim).await
    }

    /// The same with the victim at one of its addresses.
    pub(crate) async fn talk_at(&self, at: IpAddr) -> Result<Talk, String> {
        // The order matters: a victim that has a link answers a SYN through it.
        let stream = self.connect_at(at).await?;
        let link = self.link_at(at, self.hello()).await?;
        Talk::begin(link, stream).await
    }
}

/// Returns the ends of a connection as this guest sees them.
pub(crate) fn ends(stream: &TcpStream) -> Ends {
    Ends {
        sender: stream.local_addr(),
        receiver: stream.peer_addr(),
    }
}

/// Grants a ring to the victim and announces it.
pub(crate) async fn offer(link: &mut Link, number: u16, base: u64) -> Result<Own, String> {
    let region = GrantedRegion::new(link.domid, 1 + (1 << LOG2));
    let memory = region.map_err(|error| format!("ring: {error}"))?;
    let end = Producer::new(Place::of_connection(LOG2, base));
    end.prepare(&memory);
    let references = memory.references().map_err(|error| format!("{error}"))?;
    link.post(&wire::ring(number, LOG2, references)).await?;
    Ok(Owned {
        memory,
        end,
        number,
    })
}

/// Maps the ring that a RING from the victim describes.
fn accept(link: &Link, payload: &[u8]) -> Option<(u16, u8, Result<Mapping, String>)> {
    let number = u16_at(payload, 0)?;
    let &[log2, side] = payload.get(2..4)? else {
        return None;
    };
    let count = 1 + (1_usize << log2.min(8));
    let references: Option<Vec<u32>> = (0..count).map(|n| u32_at(payload, 4 + 4 * n)).collect();
    if side != 0 || payload.len() != 4 + 4 * count {
        return None;
    }
    let mapping = Mapping::new(link.domid, &references?, Access::ReadWrite);
    Some((
        number,
        log2,
        mapping.map_err(|error| format!("their ring: {error}")),
    ))
}

/// Returns `len` bytes of the stream from `offset` on.
pub(crate) fn pattern(offset: u64, len: usize) -> Vec<u8> {
    let byte = |n: u64| (n % 251) as u8;
    (offset..offset + len as u64).map(byte).collect()
}

impl Talk {
    /// Moves a connection onto rings of a link.
    pub(crate) async fn begin(link: Link, stream: TcpStream) -> Result<Self, String> {
        Self::begin_with(link, stream, 0).await
    }

    /// The same with a ring of another number.
    pub(crate) async fn begin_with(
        mut link: Link,
        stream: TcpStream,
        number: u16,
    ) -> Result<Self, String> {
        let mut own = offer(&mut link, number, 0).await?;
        link.post(&wire::switch(number, ends(&stream), 0)).await?;
        let bytes = pattern(0, 100);
        if own.end.write(&own.memory, &bytes).1 {
            link.ring_data(number);
        }
        let payload = link.expect(wire::RING).await?;
        let (number, log2, mapping) = accept(&link, &payload).ok_or("their RING means nothing")?;
        let memory = mapping?;
        let payload = link.expect(wire::SWITCH).await?;
        let base = u64_at(&payload, 44).ok_or("their SWITCH is short")?;
        if u16_at(&payload, 0) != Some(number) {
            return Err(format!("their SWITCH is not to ring {number}"));
        }
        let end = Consumer::new(Place::of_connection(log2, base));
        end.attach(&memory);
        link.ring_space(number);
        let mut talk = Self {
            link,
            stream,
            own,
            theirs: Owned {
                memory,
                end,
                number,
            },
        };
        talk.expect_echo(0, 100).await?;
        Ok(talk)
    }

    /// Writes into our own ring, waiting for room as needed.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let deadline = time::now() + PATIENCE;
        let mut rest = bytes;
        loop {
            let (count, due) = self.own.end.write(&self.own.memory, rest);
            if due {
                self.link.ring_data(self.own.number);
            }
            rest = &rest[count..];
            if rest.is_empty() {
                return Ok(());
            }
            if time::now() >= deadline {
                return Err("the victim does not read its ring".to_string());
            }
            self.own.end.wish(&self.own.memory);
            self.link.event().await;
        }
    }

    /// Reads what the victim has written so far.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        let (count, due) = self.theirs.end.read(&self.theirs.memory, into);
        if due {
            self.link.ring_space(self.theirs.number);
        }
        count
    }

    /// Waits for `len` bytes of the stream from `offset` on, through the victim's ring.
    pub(crate) async fn expect_echo(&mut self, offset: u64, len: usize) -> Result<(), String> {
        let deadline = time::now() + PATIENCE;
        let mut bytes = vec![0; len];
        let mut got = 0;
        while got < len {
            got += self.read(&mut bytes[got..]);
            if got < len && !self.theirs.end.wish(&self.theirs.memory) {
                if time::now() >= deadline {
                    return Err(format!("{got} of {len} bytes came back"));
                }
                self.link.event().await;
            }
        }
        if bytes != pattern(offset, len) {
            return Err(format!("other bytes came back from {offset} on"));
        }
        Ok(())
    }
}

/// Sends `len` bytes of the stream from `offset` on by TCP.
pub(crate) async fn send(stream: &mut TcpStream, offset: u64, len: usize) -> Result<(), String> {
    let bytes = pattern(offset, len);
    let sent = time::timeout(PATIENCE, stream.write_all(&bytes)).await;
    let sent = sent.map_err(|_| "TCP takes nothing".to_string())?;
    sent.map_err(|error| format!("TCP: {error}"))
}

/// Waits for `len` bytes of the stream from `offset` on, by TCP.
pub(crate) async fn receive(stream: &mut TcpStream, offset: u64, len: usize) -> Result<(), String> {
    let mut back = vec![0; len];
    let read = time::timeout(PATIENCE, stream.read_exact(&mut back)).await;
    let read = read.map_err(|_| "TCP: no echo".to_string())?;
    read.map_err(|error| format!("TCP: {error:?}"))?;
    if back != pattern(offset, len) {
        return Err(format!("TCP: other bytes came back from {offset} on"));
    }
    Ok(())
}
