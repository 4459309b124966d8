//! Messages between two linked guests (docs/protocol.md, "Messages on the link").

use alloc::vec::Vec;
use core::net::IpAddr;

use super::datagram::{Cookie, Nonce};
use super::ring::{References, RingNumber, RingSize};
use super::tuple::{
    PAIR_BYTES, TUPLE_BYTES, address, array, family, pair, put_address, put_pair, put_tuple, tuple,
};
use crate::platform::Uuid;
use crate::stream::{FourTuple, Pair};

/// Bytes of the header in front of every payload.
pub const HEADER: usize = 4;
/// Bytes of a payload, at most.
pub const PAYLOAD: usize = 2048;
/// Bytes of a frame, at most: ordinary Ethernet without the checksum.
pub const LONGEST_FRAME: usize = 1514;

/// Why a receiver confirms a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To fall back; the connection may be upgraded again.
    Fallback,
    /// It has no such connection.
    NoConnection,
    /// It could not map the ring.
    Unmapped,
    /// The connection is not with the link's address.
    WrongAddress,
    /// It is leaving the link.
    Leaving,
}

impl Reason {
    const fn number(self) -> u16 {
        match self {
            Self::Fallback => 0,
            Self::NoConnection => 1,
            Self::Unmapped => 3,
            Self::WrongAddress => 4,
            Self::Leaving => 5,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Fallback,
            1 => Self::NoConnection,
            3 => Self::Unmapped,
            4 => Self::WrongAddress,
            5 => Self::Leaving,
            _ => return None,
        })
    }

    /// Whether the receiver wants no ring for this connection, now or later.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::NoConnection | Self::Unmapped | Self::WrongAddress => true,
            Self::Fallback | Self::Leaving => false,
        }
    }
}

/// What a LEAVE says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The sender shuts down.
    Shutdown,
    /// The sender is about to migrate.
    Migrating,
    /// The sender has got the other side's LEAVE.
    Answer,
}

impl Leave {
    const fn number(self) -> u16 {
        match self {
            Self::Shutdown => 1,
            Self::Migrating => 2,
            Self::Answer => 4,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Shutdown,
            2 => Self::Migrating,
            4 => Self::Answer,
            _ => return None,
        })
    }
}

/// What happened to a guest of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEvent {
    /// A link with it is up.
    Join,
    /// It shuts down.
    Leave,
    /// It is about to migrate.
    Migrating,
    /// It was known before, and has a new domid.
    Arrived,
    /// It was found dead.
    Gone,
}

impl MemberEvent {
    const fn number(self) -> u8 {
        match self {
            Self::Join => 1,
            Self::Leave => 2,
            Self::Migrating => 3,
            Self::Arrived => 4,
            Self::Gone => 5,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Join,
            2 => Self::Leave,
            3 => Self::Migrating,
            4 => Self::Arrived,
            5 => Self::Gone,
            _ => return None,
        })
    }
}

/// A message. `own` rings are numbered by its sender, `your` rings by its
/// receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// An Ethernet frame.
    Frame(&'a [u8]),
    /// The sender has granted a ring that it will write.
    Ring {
        /// The ring.
        own: RingNumber,
        /// Its size.
        size: RingSize,
        /// Its pages.
        references: References<'a>,
    },
    /// The sender writes a connection's bytes to a ring from `base` on.
    Switch {
        /// The ring.
        own: RingNumber,
        /// The connection, as the message's sender sees it.
        tuple: FourTuple,
        /// Stream offset of the ring's first byte.
        base: u64,
    },
    /// The sender reads a ring no longer.
    Confirm {
        /// The ring.
        your: RingNumber,
        /// Why.
        reason: Reason,
        /// Stream offset up to which it has the bytes.
        offset: u64,
    },
    /// The sender wants a ring that it writes confirmed.
    Fallback {
        /// The ring.
        own: RingNumber,
        /// Why.
        reason: Reason,
    },
    /// The sender has read a ring to its end, or has given its connection up.
    Done {
        /// The ring.
        your: RingNumber,
        /// Stream offset up to which it has the bytes.
        offset: u64,
    },
    /// The sender wants the pages of a ring unmapped.
    Retire {
        /// The ring.
        own: RingNumber,
    },
    /// The sender has unmapped a ring.
    Released {
        /// The ring.
        your: RingNumber,
    },
    /// Something happened to a guest of this host.
    Member {
        /// What.
        event: MemberEvent,
        /// The guest.
        uuid: Uuid,
        /// Its address.
        address: IpAddr,
    },
    /// The sender leaves the link.
    Leave(Leave),
    /// The sender asks for a ring to write to, in pages of the receiver's.
    Ask {
        /// The number that it will have.
        own: RingNumber,
        /// Its size.
        size: RingSize,
    },
    /// The answer to [`Message::Ask`].
    Granted {
        /// The ring.
        your: RingNumber,
        /// Its size.
        size: RingSize,
        /// Its pages, or none: refused.
        references: References<'a>,
    },
    /// The sender is about to migrate, or no longer.
    Migrating(bool),
    /// The sender has got a HELLO from the receiver between these addresses.
    Address {
        /// The addresses, as the message's sender sees them.
        pair: Pair,
        /// The nonce of that HELLO.
        nonce_a: Nonce,
    },
    /// The answer to [`Message::Address`]: the HELLO was the sender's.
    Proved {
        /// The addresses, as the message's sender sees them.
        pair: Pair,
        /// The nonce of that HELLO.
        nonce_a: Nonce,
        /// The cookie that came to the sender's address.
        cookie: Cookie,
    },
    /// The sender has an address no longer.
    Lost {
        /// The address.
        address: IpAddr,
    },
}

impl<'a> Message<'a> {
    const fn kind(&self) -> u8 {
        match self {
            Self::Frame(_) => 1,
            Self::Ring { .. } => 2,
            Self::Switch { .. } => 3,
            Self::Confirm { .. } => 4,
            Self::Fallback { .. } => 5,
            Self::Done { .. } => 6,
            Self::Retire { .. } => 7,
            Self::Released { .. } => 8,
            Self::Member { .. } => 9,
            Self::Leave(_) => 10,
            Self::Ask { .. } => 11,
            Self::Granted { .. } => 12,
            Self::Migrating(_) => 13,
            Self::Address { .. } => 14,
            Self::Proved { .. } => 15,
            Self::Lost { .. } => 16,
        }
    }

    /// Appends header and payload to `into`.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&[self.kind(), 0, 0, 0]);
        match *self {
            Self::Frame(frame) => into.extend_from_slice(frame),
            Self::Ring {
                own: ring,
                size,
                references,
            }
            | Self::Granted {
                your: ring,
                size,
                references,
            } => {
                put_ring(into, ring);
                into.extend_from_slice(&[size.log2(), 0]);
                into.extend_from_slice(references.0);
            }
            Self::Switch { own, tuple, base } => {
                put_ring(into, own);
                into.extend_from_slice(&[0, 0]);
                put_tuple(into, &tuple);
                into.extend_from_slice(&base.to_le_bytes());
            }
            Self::Confirm {
                your,
                reason,
                offset,
            } => {
                put_ring(into, your);
                into.extend_from_slice(&reason.number().to_le_bytes());
                into.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Fallback { own, reason } => {
                put_ring(into, own);
                into.extend_from_slice(&reason.number().to_le_bytes());
            }
            Self::Done { your, offset } => {
                put_ring(into, your);
                into.extend_from_slice(&[0, 0]);
                into.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Retire { own: ring } | Self::Released { your: ring } => put_ring(into, ring),
            Self::Member {
                event,
                uuid,
                address,
            } => {
                into.extend_from_slice(&[event.number(), family(address), 0, 0]);
                into.extend_from_slice(&uuid.0);
                put_address(into, address);
            }
            Self::Leave(leave) => into.extend_from_slice(&leave.number().to_le_bytes()),
            Self::Ask { own, size } => {
                put_ring(into, own);
                into.extend_from_slice(&[size.log2(), 0]);
            }
            Self::Migrating(migrates) => into.extend_from_slice(&[u8::from(migrates), 0]),
            Self::Address { pair, nonce_a } => {
                put_pair(into, &pair);
                into.extend_from_slice(&nonce_a);
            }
            Self::Proved {
                pair,
                nonce_a,
                cookie,
            } => {
                put_pair(into, &pair);
                into.extend_from_slice(&nonce_a);
                into.extend_from_slice(&cookie);
            }
            Self::Lost { address } => {
                into.extend_from_slice(&[family(address), 0, 0, 0]);
                put_address(into, address);
            }
        }
        let len = u16::try_from(into.len() - start - HEADER).unwrap_or(u16::MAX);
        into[start + 2..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Decodes the payload of a message of this kind.
    #[must_use]
    pub fn decode(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let message = match (kind, payload.len()) {
            (1, 1..=LONGEST_FRAME) => Self::Frame(payload),
            (2, 4..) => {
                let (own, size, references) = granted(payload)?;
                references.cover(size).then_some(Self::Ring {
                    own,
                    size,
                    references,
                })?
            }
            (3, 52) => Self::Switch {
                own: ring(payload)?,
                tuple: tuple(payload.get(4..4 + TUPLE_BYTES)?)?,
                base: u64::from_le_bytes(array(payload, 44)?),
            },
            (4, 12) => Self::Confirm {
                your: ring(payload)?,
                reason: Reason::from_number(u16::from_le_bytes(array(payload, 2)?))?,
                offset: u64::from_le_bytes(array(payload, 4)?),
            },
            (5, 4) => Self::Fallback {
                own: ring(payload)?,
                reason: Reason::from_number(u16::from_le_bytes(array(payload, 2)?))?,
            },
            (6, 12) => Self::Done {
                your: ring(payload)?,
                offset: u64::from_le_bytes(array(payload, 4)?),
            },
            (7, 2) => Self::Retire {
                own: ring(payload)?,
            },
            (8, 2) => Self::Released {
                your: ring(payload)?,
            },
            (9, 36) => Self::Member {
                event: MemberEvent::from_number(payload[0])?,
                uuid: Uuid(array(payload, 4)?),
                address: address(payload[1], array(payload, 20)?)?,
            },
            (10, 2) => Self::Leave(Leave::from_number(u16::from_le_bytes(array(payload, 0)?))?),
            (11, 4) => {
                let (own, size, _) = granted(payload)?;
                Self::Ask { own, size }
            }
            (12, 4..) => {
                let (your, size, references) = granted(payload)?;
                let is_valid = references.is_empty() || references.cover(size);
                is_valid.then_some(Self::Granted {
                    your,
                    size,
                    references,
                })?
            }
            (13, 2) => Self::Migrating(match payload {
                [0, 0] => false,
                [1, 0] => true,
                _ => return None,
            }),
            (14, 52) => Self::Address {
                pair: pair(payload)?,
                nonce_a: array(payload, PAIR_BYTES)?,
            },
            (15, 68) => Self::Proved {
                pair: pair(payload)?,
                nonce_a: array(payload, PAIR_BYTES)?,
                cookie: array(payload, PAIR_BYTES + 16)?,
            },
            (16, 20) => Self::Lost {
                address: address(payload[0], array(payload, 4)?)?,
            },
            _ => return None,
        };
        Some(message)
    }
}

fn put_ring(into: &mut Vec<u8>, ring: RingNumber) {
    into.extend_from_slice(&ring.get().to_le_bytes());
}

fn ring(payload: &[u8]) -> Option<RingNumber> {
    RingNumber::new(u16::from_le_bytes(array(payload, 0)?))
}

/// Splits a payload into ring number, size, and the references behind them.
fn granted(payload: &[u8]) -> Option<(RingNumber, RingSize, References<'_>)> {
    let (head, references) = payload.split_first_chunk::<4>()?;
    if head[3] != 0 {
        return None;
    }
    Some((
        ring(head)?,
        RingSize::from_log2(head[2])?,
        References(references),
    ))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    use super::super::ring::{References, RingNumber, RingSize};
    use super::{HEADER, Leave, MemberEvent, Message, Reason};
    use crate::platform::Uuid;
    use crate::stream::FourTuple;

    fn ring(number: u16) -> RingNumber {
        RingNumber::new(number).expect("a ring number")
    }

    fn size(log2: u8) -> RingSize {
        RingSize::from_log2(log2).expect("a ring size")
    }

    fn end(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn each(mut check: impl FnMut(Message<'_>)) {
        let tuple = FourTuple {
            local: end("10.0.0.1:25"),
            remote: end("10.0.0.2:40000"),
        };
        let six = FourTuple {
            local: end("[fe80::1]:25"),
            remote: end("[fe80::2]:40000"),
        };
        let references = [7; 4 * 5];
        check(Message::Frame(&[1, 2, 3]));
        check(Message::Ring {
            own: ring(511),
            size: size(2),
            references: References(&references),
        });
        for (tuple, base) in [(tuple, 0), (six, u64::MAX)] {
            let own = ring(3);
            check(Message::Switch { own, tuple, base });
        }
        check(Message::Confirm {
            your: ring(1),
            reason: Reason::Unmapped,
            offset: 9,
        });
        check(Message::Fallback {
            own: ring(1),
            reason: Reason::Leaving,
        });
        check(Message::Done {
            your: ring(2),
            offset: 8,
        });
        check(Message::Retire { own: ring(2) });
        check(Message::Released { your: ring(2) });
        check(Message::Member {
            event: MemberEvent::Arrived,
            uuid: Uuid([9; 16]),
            address: six.local.ip(),
        });
        check(Message::Leave(Leave::Migrating));
        check(Message::Ask {
            own: ring(3),
            size: size(8),
        });
        for references in [&references[..], &[]] {
            check(Message::Granted {
                your: ring(3),
                size: size(2),
                references: References(references),
            });
        }
        let (nonce_a, cookie) = ([4; 16], [5; 16]);
        for pair in [tuple.pair(), six.pair()] {
            check(Message::Address { pair, nonce_a });
            check(Message::Proved {
                pair,
                nonce_a,
                cookie,
            });
            let address = pair.local;
            check(Message::Lost { address });
        }
        check(Message::Migrating(true));
        check(Message::Migrating(false));
    }

    #[test]
    fn decoding_inverts_encoding() {
        each(|message| {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let len = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
            assert_eq!(len, bytes.len() - HEADER);
            assert_eq!(Message::decode(bytes[0], &bytes[HEADER..]), Some(message));
        });
    }

    #[test]
    fn a_payload_of_another_length_decodes_to_none() {
        each(|message| {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            bytes.push(0);
            if bytes[0] == 1 {
                return;
            }
            // GRANTED without references is a refusal.
            let is_refusal = |len: usize| bytes[0] == 12 && len == HEADER + 4;
            let others = HEADER..bytes.len() - 1;
            for len in others.filter(|len| !is_refusal(*len)) {
                assert_eq!(Message::decode(bytes[0], &bytes[HEADER..len]), None);
            }
            assert_eq!(Message::decode(bytes[0], &bytes[HEADER..]), None);
        });
    }

    #[test]
    fn numbers_out_of_range_decode_to_none() {
        assert_eq!(Message::decode(7, &[0, 2]), None, "ring 512");
        for leave in [0, 3, 5] {
            assert_eq!(Message::decode(10, &[leave, 0]), None, "LEAVE {leave}");
        }
        for reason in [2, 6, 255] {
            let fallback = [0, 0, reason, 0];
            assert_eq!(Message::decode(5, &fallback), None, "reason {reason}");
        }
        assert_eq!(Message::decode(0, &[]), None);
        assert_eq!(Message::decode(17, &[]), None);
        assert_eq!(Message::decode(13, &[2, 0]), None);
        assert_eq!(Message::decode(11, &[0, 0, 9, 0]), None, "2^9 pages");
        assert_eq!(Message::decode(2, &[0, 0, 200, 0]), None, "2^200 pages");
        assert_eq!(Message::decode(1, &[0; 1515]), None);
    }
}
