//! HELLO, CHALLENGE, WELCOME and REFUSED as bytes (docs/protocol.md, "Datagrams").

use alloc::vec::Vec;

use super::tuple::array;
use crate::platform::{DomId, Uuid};

pub(super) const MAGIC: [u8; 4] = *b"XVMC";
pub(super) const VERSION: u8 = 2;

/// A secret that is sent to one address only.
pub type Nonce = [u8; 16];

/// What a CHALLENGE carries: whoever says it again receives at the address that
/// it was sent to.
pub type Cookie = [u8; 16];

/// The cookie of a HELLO that has not been challenged.
pub const NO_COOKIE: Cookie = [0; 16];

/// Why a HELLO or a WELCOME is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The two are not on one host.
    NotCoResident,
    /// There is no room for another link.
    NoRoom,
    /// The sender is leaving.
    Leaving,
}

impl Refusal {
    const fn number(self) -> u16 {
        match self {
            Self::NotCoResident => 1,
            Self::NoRoom => 2,
            Self::Leaving => 3,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::NotCoResident,
            2 => Self::NoRoom,
            3 => Self::Leaving,
            _ => return None,
        })
    }
}

/// What a datagram asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks whether a Causeway of this host lives at the address. As long as the
    /// longest answer, so that no answer is longer than the question.
    Hello {
        /// The cookie of the last CHALLENGE, or [`NO_COOKIE`].
        cookie: Cookie,
    },
    /// Asks for the same HELLO with this cookie. Its sender does not name itself.
    Challenge {
        /// What the HELLO is to carry.
        cookie: Cookie,
    },
    /// Offers a link.
    Welcome {
        /// The secret that the mapper has to write into the control page.
        nonce_b: Nonce,
        /// Grant reference of the control page.
        reference: u32,
        /// Event channel port to bind.
        port: u32,
    },
    /// Declines a HELLO or a WELCOME.
    Refused(Refusal),
}

/// A datagram of discovery. Every field is only what its sender claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Domid of the sender.
    pub domid: DomId,
    /// Identity of the sender.
    pub uuid: Uuid,
    /// The nonce of the HELLO that started the exchange.
    pub nonce_a: Nonce,
    /// What it says.
    pub kind: Kind,
}

impl Datagram {
    /// Whether it does not say who sent it.
    #[must_use]
    pub const fn is_nameless(&self) -> bool {
        matches!(self.kind, Kind::Challenge { .. })
    }

    /// Encodes the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[6..8].copy_from_slice(&self.domid.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.uuid.0);
        bytes[24..40].copy_from_slice(&self.nonce_a);
        let (kind, len) = match self.kind {
            Kind::Hello { cookie } => {
                bytes[40..56].copy_from_slice(&cookie);
                (1, 64)
            }
            Kind::Challenge { cookie } => {
                bytes[40..56].copy_from_slice(&cookie);
                (6, 56)
            }
            Kind::Welcome {
                nonce_b,
                reference,
                port,
            } => {
                bytes[40..56].copy_from_slice(&nonce_b);
                bytes[56..60].copy_from_slice(&reference.to_le_bytes());
                bytes[60..64].copy_from_slice(&port.to_le_bytes());
                (2, 64)
            }
            Kind::Refused(reason) => {
                bytes[40..42].copy_from_slice(&reason.number().to_le_bytes());
                (3, 56)
            }
        };
        bytes[5] = kind;
        bytes[..len].to_vec()
    }

    /// Decodes a HELLO, CHALLENGE, WELCOME or REFUSED.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<40>()?;
        if head[..4] != MAGIC || head[4] != VERSION {
            return None;
        }
        let kind = match (head[5], rest.len()) {
            (1, 24) => Kind::Hello {
                cookie: array(rest, 0)?,
            },
            (6, 16) => Kind::Challenge {
                cookie: array(rest, 0)?,
            },
            (2, 24) => Kind::Welcome {
                nonce_b: array(rest, 0)?,
                reference: u32::from_le_bytes(array(rest, 16)?),
                port: u32::from_le_bytes(array(rest, 20)?),
            },
            (3, 16) => Kind::Refused(Refusal::from_number(u16::from_le_bytes(array(rest, 0)?))?),
            _ => return None,
        };
        Some(Self {
            domid: u16::from_le_bytes(array(head, 6)?),
            uuid: Uuid(array(head, 8)?),
            nonce_a: array(head, 24)?,
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Datagram, Kind, NO_COOKIE, Refusal};
    use crate::platform::Uuid;

    fn datagram(kind: Kind) -> Datagram {
        Datagram {
            domid: 0x0102,
            uuid: Uuid([3; 16]),
            nonce_a: [4; 16],
            kind,
        }
    }

    #[test]
    fn decoding_inverts_encoding() {
        let welcome = Kind::Welcome {
            nonce_b: [5; 16],
            reference: 0x0607_0809,
            port: 0x0a0b_0c0d,
        };
        for (kind, len) in [
            (Kind::Hello { cookie: [6; 16] }, 64),
            (Kind::Challenge { cookie: [7; 16] }, 56),
            (welcome, 64),
            (Kind::Refused(Refusal::Leaving), 56),
        ] {
            let sent = datagram(kind);
            let bytes = sent.encode();
            assert_eq!(bytes.len(), len);
            assert_eq!(Datagram::decode(&bytes), Some(sent));
        }
    }

    #[test]
    fn invalid_bytes_decode_to_none() {
        let bytes = datagram(Kind::Hello { cookie: NO_COOKIE }).encode();
        for len in 0..bytes.len() {
            assert_eq!(Datagram::decode(&bytes[..len]), None);
        }
        for at in 0..6 {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x80;
            assert_eq!(Datagram::decode(&spoilt), None, "byte {at}");
        }
        let refused = datagram(Kind::Refused(Refusal::NoRoom)).encode();
        let mut spoilt = refused.clone();
        spoilt[40] = 0;
        assert_eq!(Datagram::decode(&spoilt), None);
    }
}
