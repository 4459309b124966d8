//! Messages as bytes. Decoding is total: whatever is no message is none.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Leave, Message, Reason, References};
use crate::limits::{LARGEST_LOG2, RING_NUMBERS};
use crate::platform::Uuid;
use crate::publisher::MemberEvent;
use crate::stream::FourTuple;
use crate::vms::datagram::array;

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
            Self::Home { .. } => 12,
            Self::Migrating(_) => 13,
        }
    }

    /// Appends header and payload.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&[self.kind(), 0, 0, 0]);
        match *self {
            Self::Frame(frame) => into.extend_from_slice(frame),
            Self::Ring {
                own,
                log2,
                references,
            }
            | Self::Home {
                your: own,
                log2,
                references,
            } => {
                into.extend_from_slice(&own.to_le_bytes());
                into.extend_from_slice(&[log2, 0]);
                into.extend_from_slice(references.0);
            }
            Self::Switch { own, tuple, base } => {
                into.extend_from_slice(&own.to_le_bytes());
                into.extend_from_slice(&[0, 0]);
                put_tuple(into, &tuple);
                into.extend_from_slice(&base.to_le_bytes());
            }
            Self::Confirm {
                your,
                reason,
                offset,
            } => {
                into.extend_from_slice(&your.to_le_bytes());
                into.extend_from_slice(&reason.number().to_le_bytes());
                into.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Fallback { own, reason } => {
                into.extend_from_slice(&own.to_le_bytes());
                into.extend_from_slice(&reason.number().to_le_bytes());
            }
            Self::Done { your, offset } => {
                into.extend_from_slice(&your.to_le_bytes());
                into.extend_from_slice(&[0, 0]);
                into.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Retire { own: ring } | Self::Released { your: ring } => {
                into.extend_from_slice(&ring.to_le_bytes());
            }
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
            Self::Ask { own, log2 } => {
                into.extend_from_slice(&own.to_le_bytes());
                into.extend_from_slice(&[log2, 0]);
            }
            Self::Migrating(migrates) => into.extend_from_slice(&[u8::from(migrates), 0]),
        }
        let len = u16::try_from(into.len() - start - super::HEADER).unwrap_or(u16::MAX);
        into[start + 2..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// The message of this kind with this payload; none where there is no such.
    pub(crate) fn decode(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let message = match (kind, payload.len()) {
            (1, 1..=1514) => Self::Frame(payload),
            (2, 4..) => {
                let (own, log2, references) = granted(payload)?;
                is_whole(log2, references).then_some(Self::Ring {
                    own,
                    log2,
                    references: References(references),
                })?
            }
            (3, 52) => Self::Switch {
                own: ring(payload)?,
                tuple: tuple(payload.get(4..44)?)?,
                base: u64::from_le_bytes(array(payload, 44)?),
            },
            (4, 12) => Self::Confirm {
                your: ring(payload)?,
                reason: Reason::from_number(u16::from_le_bytes(array(payload, 2)?)),
                offset: u64::from_le_bytes(array(payload, 4)?),
            },
            (5, 4) => Self::Fallback {
                own: ring(payload)?,
                reason: Reason::from_number(u16::from_le_bytes(array(payload, 2)?)),
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
            (11, 4) => {
                let (own, log2, _) = granted(payload)?;
                Self::Ask { own, log2 }
            }
            (12, 4..) => {
                let (your, log2, references) = granted(payload)?;
                let is_refused = references.is_empty();
                (is_refused || is_whole(log2, references)).then_some(Self::Home {
                    your,
                    log2,
                    references: References(references),
                })?
            }
            (13, 2) => Self::Migrating(match payload {
                [0, 0] => false,
                [1, 0] => true,
                _ => return None,
            }),
            (10, 2) => Self::Leave(Leave::from_number(u16::from_le_bytes(array(payload, 0)?))?),
            _ => return None,
        };
        Some(message)
    }
}

impl Leave {
    const fn number(self) -> u16 {
        match self {
            Self::Shutdown => 1,
            Self::Migrating => 2,
            Self::NoRoom => 3,
            Self::Answer => 4,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Shutdown,
            2 => Self::Migrating,
            3 => Self::NoRoom,
            4 => Self::Answer,
            _ => return None,
        })
    }
}

/// Ring number, log2 of data pages, and what follows.
fn granted(payload: &[u8]) -> Option<(u16, u8, &[u8])> {
    let (head, references) = payload.split_first_chunk::<4>()?;
    let log2 = head[2];
    if head[3] != 0 || log2 > LARGEST_LOG2 {
        return None;
    }
    Some((ring(head)?, log2, references))
}

/// Whether there is a reference for each page of a ring.
const fn is_whole(log2: u8, references: &[u8]) -> bool {
    references.len() == 4 * (1 + (1 << log2))
}

fn ring(payload: &[u8]) -> Option<u16> {
    let ring = u16::from_le_bytes(array(payload, 0)?);
    (usize::from(ring) < RING_NUMBERS).then_some(ring)
}

const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    }
}

fn put_address(into: &mut Vec<u8>, address: IpAddr) {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    into.extend_from_slice(&bytes);
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    Some(match family {
        4 => IpAddr::V4(Ipv4Addr::from(array::<4>(&bytes, 0)?)),
        6 => IpAddr::V6(Ipv6Addr::from(bytes)),
        _ => return None,
    })
}

pub(crate) fn put_tuple(into: &mut Vec<u8>, tuple: &FourTuple) {
    into.extend_from_slice(&[family(tuple.local.ip()), 0, 0, 0]);
    into.extend_from_slice(&tuple.local.port().to_le_bytes());
    into.extend_from_slice(&tuple.remote.port().to_le_bytes());
    put_address(into, tuple.local.ip());
    put_address(into, tuple.remote.ip());
}

pub(crate) fn tuple(bytes: &[u8]) -> Option<FourTuple> {
    let family = *bytes.first()?;
    let end = |port, at| {
        let port = u16::from_le_bytes(array(bytes, port)?);
        Some(SocketAddr::new(address(family, array(bytes, at)?)?, port))
    };
    Some(FourTuple {
        local: end(4, 8)?,
        remote: end(6, 24)?,
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    use super::{Leave, Message, Reason, References};
    use crate::message::HEADER;
    use crate::platform::Uuid;
    use crate::publisher::MemberEvent;
    use crate::stream::FourTuple;

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
            own: 511,
            log2: 2,
            references: References(&references),
        });
        for (tuple, base) in [(tuple, 0), (six, u64::MAX)] {
            let own = 3;
            check(Message::Switch { own, tuple, base });
        }
        check(Message::Confirm {
            your: 1,
            reason: Reason::Unmapped,
            offset: 9,
        });
        check(Message::Fallback {
            own: 1,
            reason: Reason::Leaving,
        });
        check(Message::Done { your: 2, offset: 8 });
        check(Message::Retire { own: 2 });
        check(Message::Released { your: 2 });
        check(Message::Member {
            event: MemberEvent::Arrived,
            uuid: Uuid([9; 16]),
            address: six.local.ip(),
        });
        check(Message::Leave(Leave::Migrating));
        check(Message::Ask { own: 3, log2: 8 });
        for references in [&references[..], &[]] {
            check(Message::Home {
                your: 3,
                log2: 2,
                references: References(references),
            });
        }
        check(Message::Migrating(true));
        check(Message::Migrating(false));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        each(|message| {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let len = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
            assert_eq!(len, bytes.len() - HEADER);
            assert_eq!(Message::decode(bytes[0], &bytes[HEADER..]), Some(message));
        });
    }

    #[test]
    fn a_payload_of_another_length_is_no_message() {
        each(|message| {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            bytes.push(0);
            if bytes[0] == 1 {
                return;
            }
            // A HOME without references is one, too.
            let is_home = |len: usize| bytes[0] == 12 && len == HEADER + 4;
            let others = HEADER..bytes.len() - 1;
            for len in others.filter(|len| !is_home(*len)) {
                assert_eq!(Message::decode(bytes[0], &bytes[HEADER..len]), None);
            }
            assert_eq!(Message::decode(bytes[0], &bytes[HEADER..]), None);
        });
    }

    #[test]
    fn numbers_beyond_their_range_are_no_message() {
        assert_eq!(Message::decode(7, &[0, 2]), None, "ring 512");
        assert_eq!(Message::decode(10, &[5, 0]), None);
        assert_eq!(Message::decode(0, &[]), None);
        assert_eq!(Message::decode(14, &[]), None);
        assert_eq!(Message::decode(13, &[2, 0]), None);
        assert_eq!(Message::decode(11, &[0, 0, 9, 0]), None, "2^9 pages");
        assert_eq!(Message::decode(2, &[0, 0, 200, 0]), None, "2^200 pages");
        assert_eq!(Message::decode(1, &[0; 1515]), None);
    }
}
