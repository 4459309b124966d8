//! Datagrams and messages of docs/protocol.md, written from that text alone: a second
//! implementation. It can send anything, right or wrong.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::Scene;

/// The UDP port of both sides.
pub(crate) const PORT: u16 = 22605;

pub(crate) const HELLO: u8 = 1;
pub(crate) const WELCOME: u8 = 2;
pub(crate) const REFUSED: u8 = 3;
pub(crate) const RESUME: u8 = 4;
pub(crate) const RESUMED: u8 = 5;
pub(crate) const CHALLENGE: u8 = 6;

pub(crate) const FRAME: u8 = 1;
pub(crate) const RING: u8 = 2;
pub(crate) const SWITCH: u8 = 3;
pub(crate) const CONFIRM: u8 = 4;
pub(crate) const DONE: u8 = 6;
pub(crate) const RETIRE: u8 = 7;
pub(crate) const RELEASED: u8 = 8;
pub(crate) const MEMBER: u8 = 9;
pub(crate) const LEAVE: u8 = 10;
pub(crate) const ASK: u8 = 11;
pub(crate) const GRANTED: u8 = 12;
pub(crate) const MIGRATING: u8 = 13;
pub(crate) const ADDRESS: u8 = 14;
pub(crate) const PROVED: u8 = 15;
pub(crate) const LOST: u8 = 16;

/// A reason of REFUSED: no room.
pub(crate) const NO_ROOM: u16 = 2;

/// What begins every datagram: the magic and the version.
const BEGIN: &[u8; 5] = b"XVMC\x02";

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) domid: u16,
    pub(crate) uuid: [u8; 16],
    pub(crate) nonce_b: [u8; 16],
    pub(crate) reference: u32,
    pub(crate) port: u32,
}

impl Welcome {
    /// Encodes the answer to the HELLO with this nonce.
    pub(crate) fn encode(&self, nonce_a: [u8; 16]) -> Vec<u8> {
        let hello = Hello {
            domid: self.domid,
            uuid: self.uuid,
            nonce: nonce_a,
            cookie: [0; 16],
        };
        let mut bytes = hello.header(WELCOME);
        bytes.extend_from_slice(&self.nonce_b);
        bytes.extend_from_slice(&self.reference.to_le_bytes());
        bytes.extend_from_slice(&self.port.to_le_bytes());
        bytes
    }
}

/// The answer to a HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The HELLO is to be sent again, with this cookie.
    Challenge([u8; 16]),
    Welcome(Welcome),
    /// Refused, for this reason.
    Refused(u16),
}

/// The claims of a HELLO about its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hello {
    pub(crate) domid: u16,
    pub(crate) uuid: [u8; 16],
    pub(crate) nonce: [u8; 16],
    /// Zeros before a CHALLENGE.
    pub(crate) cookie: [u8; 16],
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header(HELLO);
        bytes.extend_from_slice(&self.cookie);
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    /// Decodes a HELLO.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 64 || bytes.get(..5)? != BEGIN || bytes[5] != HELLO {
            return None;
        }
        Some(Self {
            domid: u16_at(bytes, 6)?,
            uuid: bytes.get(8..24)?.try_into().ok()?,
            nonce: bytes.get(24..40)?.try_into().ok()?,
            cookie: bytes.get(40..56)?.try_into().ok()?,
        })
    }

    /// Encodes the first 40 bytes of a datagram of `kind`.
    fn header(&self, kind: u8) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(BEGIN);
        bytes.push(kind);
        bytes.extend_from_slice(&self.domid.to_le_bytes());
        bytes.extend_from_slice(&self.uuid);
        bytes.extend_from_slice(&self.nonce);
        bytes
    }

    /// Decodes the answer in `bytes`, if it is one to this HELLO.
    pub(crate) fn answer(&self, bytes: &[u8]) -> Option<Answer> {
        if bytes.get(..5)? != BEGIN || *bytes.get(24..40)? != self.nonce {
            return None;
        }
        match (bytes[5], bytes.len()) {
            (CHALLENGE, 56) if bytes[6..24] == [0; 18] => {
                Some(Answer::Challenge(bytes.get(40..56)?.try_into().ok()?))
            }
            (WELCOME, 64) => Some(Answer::Welcome(Welcome {
                domid: u16_at(bytes, 6)?,
                uuid: bytes.get(8..24)?.try_into().ok()?,
                nonce_b: bytes.get(40..56)?.try_into().ok()?,
                reference: u32_at(bytes, 56)?,
                port: u32_at(bytes, 60)?,
            })),
            (REFUSED, 56) => Some(Answer::Refused(u16_at(bytes, 40)?)),
            _ => None,
        }
    }
}

/// Encodes a message with its header.
pub(crate) fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + payload.len());
    bytes.extend_from_slice(&[kind, 0]);
    bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Encodes the common beginning of RING, ASK and GRANTED, with grant references.
fn described(kind: u8, number: u16, log2: u8, references: &[u32]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&number.to_le_bytes());
    // In a RING the granter is the producer.
    payload.extend_from_slice(&[log2, 0]);
    for reference in references {
        payload.extend_from_slice(&reference.to_le_bytes());
    }
    message(kind, &payload)
}

pub(crate) fn ring(number: u16, log2: u8, references: &[u32]) -> Vec<u8> {
    described(RING, number, log2, references)
}

pub(crate) fn ask(number: u16, log2: u8) -> Vec<u8> {
    described(ASK, number, log2, &[])
}

pub(crate) fn granted(number: u16, log2: u8, references: &[u32]) -> Vec<u8> {
    described(GRANTED, number, log2, references)
}

/// The ends of a connection as the sender of a message sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) sender: SocketAddr,
    pub(crate) receiver: SocketAddr,
}

pub(crate) fn switch(number: u16, ends: Ends, base: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(&[0, 0]);
    put_tuple(&mut payload, ends);
    payload.extend_from_slice(&base.to_le_bytes());
    message(SWITCH, &payload)
}

pub(crate) fn confirm(ring: u16, reason: u16, offset: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&ring.to_le_bytes());
    payload.extend_from_slice(&reason.to_le_bytes());
    payload.extend_from_slice(&offset.to_le_bytes());
    message(CONFIRM, &payload)
}

pub(crate) fn leave(reason: u16) -> Vec<u8> {
    message(LEAVE, &reason.to_le_bytes())
}

/// A pair of addresses as the sender of a message sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) sender: IpAddr,
    pub(crate) receiver: IpAddr,
}

/// Encodes ADDRESS or, with a cookie, PROVED.
fn addresses(kind: u8, pair: Pair, nonce: [u8; 16], cookie: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&[family(pair.sender), 0, 0, 0]);
    payload.extend_from_slice(&address(pair.sender));
    payload.extend_from_slice(&address(pair.receiver));
    payload.extend_from_slice(&nonce);
    payload.extend_from_slice(cookie);
    message(kind, &payload)
}

/// A HELLO with this nonce has arrived, sent from the receiver's address to the sender's.
pub(crate) fn got_hello(pair: Pair, nonce: [u8; 16]) -> Vec<u8> {
    addresses(ADDRESS, pair, nonce, &[])
}

pub(crate) fn proved(pair: Pair, nonce: [u8; 16], cookie: [u8; 16]) -> Vec<u8> {
    addresses(PROVED, pair, nonce, &cookie)
}

pub(crate) fn lost(lost: IpAddr) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&[family(lost), 0, 0, 0]);
    payload.extend_from_slice(&address(lost));
    message(LOST, &payload)
}

/// Events are numbered from 1 to 5.
pub(crate) fn member(event: u8, uuid: [u8; 16], of: IpAddr) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&[event, family(of), 0, 0]);
    payload.extend_from_slice(&uuid);
    payload.extend_from_slice(&address(of));
    message(MEMBER, &payload)
}

const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// Encodes a four-tuple.
fn put_tuple(into: &mut Vec<u8>, ends: Ends) {
    into.extend_from_slice(&[family(ends.sender.ip()), 0, 0, 0]);
    into.extend_from_slice(&ends.sender.port().to_le_bytes());
    into.extend_from_slice(&ends.receiver.port().to_le_bytes());
    into.extend_from_slice(&address(ends.sender.ip()));
    into.extend_from_slice(&address(ends.receiver.ip()));
}

impl Scene {
    /// Encodes RESUME or RESUMED of this guest for the link whose nonce B is `epoch`.
    pub(crate) fn resume(&self, kind: u8, epoch: [u8; 16], entries: &[(Ends, u64)]) -> Vec<u8> {
        let hello = Hello {
            nonce: epoch,
            ..self.hello()
        };
        let mut bytes = hello.header(kind);
        for (ends, offset) in entries {
            put_tuple(&mut bytes, *ends);
            bytes.extend_from_slice(&offset.to_le_bytes());
            // The least that can be said of what the other side has named.
            bytes.extend_from_slice(&[0; 8]);
        }
        bytes
    }
}

fn address(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(ipv4) => bytes[..4].copy_from_slice(&ipv4.octets()),
        IpAddr::V6(ipv6) => bytes = ipv6.octets(),
    }
    bytes
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
