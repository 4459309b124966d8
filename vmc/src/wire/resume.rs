//! RESUME and RESUMED as bytes (docs/protocol.md, "Through a migration").

use alloc::vec::Vec;

use super::datagram::{MAGIC, Nonce, VERSION};
use super::tuple::{TUPLE_BYTES, array, put_tuple, tuple};
use crate::platform::{DomId, Uuid};
use crate::stream::FourTuple;

/// Names a link that ended in a suspend: its nonce B, which only the two guests
/// know.
pub type Epoch = Nonce;

/// Connections in one datagram, at most.
pub const ENTRIES: usize = 24;

/// Bytes of the longest datagram.
pub const LONGEST: usize = HEAD + ENTRIES * ENTRY;

const HEAD: usize = 40;
const ENTRY: usize = 56;

/// Stands for the offset of a connection that the sender does not know.
pub const UNKNOWN: u64 = u64::MAX;
const RESUME: u8 = 4;
const RESUMED: u8 = 5;

/// A connection, and the stream offset from which its receiver takes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The connection, as the sender of the datagram sees it.
    pub tuple: FourTuple,
    /// The first byte that its receiver lacks; [`UNKNOWN`]: it knows no such
    /// connection.
    pub offset: u64,
    /// The largest such offset that the other side has named before, as far as the
    /// sender of the datagram knows; 0 if none.
    pub heard: u64,
}

/// What a guest says after a suspend.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    /// Identity of the sender.
    pub uuid: Uuid,
    /// The link that it is about.
    pub epoch: Epoch,
    /// RESUMED, not RESUME.
    pub is_answer: bool,
    entries: &'a [[u8; ENTRY]],
}

impl<'a> Resume<'a> {
    /// Encodes a RESUME, or a RESUMED if `is_answer`.
    #[must_use]
    pub fn encode(
        uuid: Uuid,
        domid: DomId,
        epoch: Epoch,
        is_answer: bool,
        entries: &[Entry],
    ) -> Vec<u8> {
        let kind = if is_answer { RESUMED } else { RESUME };
        let mut bytes = Vec::with_capacity(HEAD + entries.len() * ENTRY);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, kind]);
        bytes.extend_from_slice(&domid.to_le_bytes());
        bytes.extend_from_slice(&uuid.0);
        bytes.extend_from_slice(&epoch);
        for entry in entries {
            put_tuple(&mut bytes, &entry.tuple);
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.heard.to_le_bytes());
        }
        bytes
    }

    /// Decodes a RESUME or RESUMED.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        if head[..4] != MAGIC || head[4] != VERSION || !matches!(head[5], RESUME | RESUMED) {
            return None;
        }
        let (entries, left) = rest.as_chunks::<ENTRY>();
        if !left.is_empty() || entries.len() > ENTRIES {
            return None;
        }
        if !entries.iter().all(|bytes| entry(bytes).is_some()) {
            return None;
        }
        Some(Self {
            uuid: Uuid(array(head, 8)?),
            epoch: array(head, 24)?,
            is_answer: head[5] == RESUMED,
            entries,
        })
    }

    /// Returns the connections it names.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + 'a {
        self.entries.iter().filter_map(entry)
    }
}

fn entry(bytes: &[u8; ENTRY]) -> Option<Entry> {
    Some(Entry {
        tuple: tuple(&bytes[..TUPLE_BYTES])?,
        offset: u64::from_le_bytes(array(bytes, TUPLE_BYTES)?),
        heard: u64::from_le_bytes(array(bytes, TUPLE_BYTES + 8)?),
    })
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Entry, Resume};
    use crate::platform::Uuid;
    use crate::stream::FourTuple;

    fn entries(count: usize) -> alloc::vec::Vec<Entry> {
        let tuple = FourTuple {
            local: "10.0.0.1:25".parse().expect("an address"),
            remote: "10.0.0.2:40000".parse().expect("an address"),
        };
        (0..count)
            .map(|index| Entry {
                tuple,
                offset: u64::MAX - index as u64,
                heard: 1 << index,
            })
            .collect()
    }

    #[test]
    fn decoding_inverts_encoding() {
        for is_answer in [false, true] {
            let sent = entries(ENTRIES);
            let bytes = Resume::encode(Uuid([7; 16]), 9, [3; 16], is_answer, &sent);
            let resume = Resume::decode(&bytes).expect("a RESUME");
            assert_eq!((resume.uuid, resume.epoch), (Uuid([7; 16]), [3; 16]));
            assert_eq!(resume.is_answer, is_answer);
            assert!(resume.entries().eq(sent));
        }
    }

    #[test]
    fn invalid_bytes_decode_to_none() {
        let bytes = Resume::encode(Uuid([7; 16]), 9, [3; 16], false, &entries(2));
        for len in 0..bytes.len() {
            assert!(
                len == 40 || len == 96 || Resume::decode(&bytes[..len]).is_none(),
                "{len}"
            );
        }
        for at in 0..6 {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x80;
            assert!(Resume::decode(&spoilt).is_none(), "byte {at}");
        }
        let mut family = bytes.clone();
        family[40] = 5;
        assert!(Resume::decode(&family).is_none());
        let long = Resume::encode(Uuid([7; 16]), 9, [3; 16], false, &entries(ENTRIES + 1));
        assert!(Resume::decode(&long).is_none());
    }
}
