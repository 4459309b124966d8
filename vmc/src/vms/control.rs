//! The control page of a link: what lies where, and the proof in it.

use alloc::vec::Vec;

use crate::limits::PAGE;
use crate::ring::Geometry;
use shared_memory::Memory;

/// Pages of the link region.
pub(crate) const LINK_PAGES: usize = 9;
/// Pages of messages in each direction.
const MESSAGE_PAGES: usize = 4;

const MAGIC: u64 = u64::from_le_bytes(*b"XVMCLINK");
const VERSION: u64 = 1;

const AT_MAGIC: usize = 0x000;
const AT_VERSION: usize = 0x008;
const AT_NONCE_A: usize = 0x010;
const AT_REFERENCES: usize = 0x020;
const AT_NONCE_B: usize = 0x080;
const AT_MAPPER_STATE: usize = 0x090;
const AT_OWNER_STATE: usize = 0x0c0;

/// Ring of messages, mapper to owner.
const TO_OWNER: Geometry = Geometry {
    header: 0x100,
    data: PAGE,
    capacity: MESSAGE_PAGES * PAGE,
};
/// Ring of messages, owner to mapper.
const TO_MAPPER: Geometry = Geometry {
    header: 0x200,
    data: (1 + MESSAGE_PAGES) * PAGE,
    capacity: MESSAGE_PAGES * PAGE,
};
const OWNER_BELL: usize = 0x300;
const MAPPER_BELL: usize = 0x400;

/// The state of a side: it may be used.
pub(crate) const OPEN: u64 = 1;
/// The state of a side: it uses the link no more.
pub(crate) const CLOSED: u64 = 2;
/// The state of a side: it is suspended, and all that it wrote stands.
pub(crate) const FROZEN: u64 = 3;

/// Which end of a link this guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It granted the link region.
    Owner,
    /// It mapped it.
    Mapper,
}

impl Side {
    /// The ring of messages that this side writes.
    pub(crate) const fn outgoing(self) -> Geometry {
        match self {
            Self::Owner => TO_MAPPER,
            Self::Mapper => TO_OWNER,
        }
    }

    /// The ring of messages that this side reads.
    pub(crate) const fn incoming(self) -> Geometry {
        match self {
            Self::Owner => TO_OWNER,
            Self::Mapper => TO_MAPPER,
        }
    }

    /// The doorbell that rings for this side.
    pub(crate) const fn own_bell(self) -> usize {
        match self {
            Self::Owner => OWNER_BELL,
            Self::Mapper => MAPPER_BELL,
        }
    }

    /// The doorbell of the other side.
    pub(crate) const fn peer_bell(self) -> usize {
        match self {
            Self::Owner => MAPPER_BELL,
            Self::Mapper => OWNER_BELL,
        }
    }

    const fn own_state(self) -> usize {
        match self {
            Self::Owner => AT_OWNER_STATE,
            Self::Mapper => AT_MAPPER_STATE,
        }
    }

    const fn peer_state(self) -> usize {
        match self {
            Self::Owner => AT_MAPPER_STATE,
            Self::Mapper => AT_OWNER_STATE,
        }
    }
}

/// Says how this side is.
pub(crate) fn set_state<M: Memory>(memory: &M, side: Side, state: u64) {
    memory.store(side.own_state(), state);
}

/// How the other side says it is.
pub(crate) fn peer_state<M: Memory>(memory: &M, side: Side) -> u64 {
    memory.load(side.peer_state())
}

/// Writes a fresh control page: `references` are those of all pages of the
/// region, the control page first.
pub(crate) fn write<M: Memory>(memory: &M, nonce_a: &[u8; 16], references: &[u32]) {
    memory.store(AT_VERSION, VERSION);
    memory.write(AT_NONCE_A, nonce_a);
    for (index, reference) in references.iter().skip(1).take(LINK_PAGES - 1).enumerate() {
        memory.write(AT_REFERENCES + 4 * index, &reference.to_le_bytes());
    }
    memory.store(AT_MAGIC, MAGIC);
}

/// Whether a mapped page is the control page that answers to nonce A.
pub(crate) fn answers<M: Memory>(memory: &M, nonce_a: &[u8; 16]) -> bool {
    let mut found = [0; 16];
    memory.read(AT_NONCE_A, &mut found);
    memory.load(AT_MAGIC) == MAGIC && memory.load(AT_VERSION) == VERSION && found == *nonce_a
}

/// Grant references of the whole region, the control page first.
pub(crate) fn references<M: Memory>(memory: &M, control: u32) -> Vec<u32> {
    let mut bytes = [0; 4 * (LINK_PAGES - 1)];
    memory.read(AT_REFERENCES, &mut bytes);
    let mut references = Vec::with_capacity(LINK_PAGES);
    references.push(control);
    references.extend(
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes)),
    );
    references
}

/// The mapper's proof.
pub(crate) fn write_proof<M: Memory>(memory: &M, nonce_b: &[u8; 16]) {
    memory.write(AT_NONCE_B, nonce_b);
}

/// Whether the mapper has proved itself.
pub(crate) fn is_proved<M: Memory>(memory: &M, nonce_b: &[u8; 16]) -> bool {
    let mut found = [0; 16];
    memory.read(AT_NONCE_B, &mut found);
    found == *nonce_b
}
