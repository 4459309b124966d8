//! The link region and its control page (docs/protocol.md, "The link").

use alloc::vec::Vec;

use shared_memory::Memory;

use super::datagram::Nonce;
use super::ring::PAGE;
use crate::ring::Geometry;

/// Pages of the link region.
pub const LINK_PAGES: usize = 9;
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

/// What one side says of its end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideState {
    /// It has not proved itself.
    Opening,
    /// It uses the link.
    Open,
    /// It uses the link no longer.
    Closed,
    /// It is suspended, and everything it wrote stands.
    Frozen,
    /// It wrote a number without a meaning.
    Invalid,
}

impl SideState {
    const fn number(self) -> u64 {
        match self {
            Self::Opening => 0,
            Self::Open => 1,
            Self::Closed => 2,
            Self::Frozen => 3,
            Self::Invalid => u64::MAX,
        }
    }

    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Opening,
            1 => Self::Open,
            2 => Self::Closed,
            3 => Self::Frozen,
            _ => Self::Invalid,
        }
    }

    /// Whether the side has ended its use of the link.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Frozen)
    }
}

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It granted the link region.
    Owner,
    /// It mapped it.
    Mapper,
}

impl Side {
    /// Returns where the message ring lies that this side writes.
    #[must_use]
    pub const fn outgoing(self) -> Geometry {
        match self {
            Self::Owner => TO_MAPPER,
            Self::Mapper => TO_OWNER,
        }
    }

    /// Returns where the message ring lies that this side reads.
    #[must_use]
    pub const fn incoming(self) -> Geometry {
        match self {
            Self::Owner => TO_OWNER,
            Self::Mapper => TO_MAPPER,
        }
    }

    /// Returns where the doorbell lies that this side answers.
    #[must_use]
    pub const fn own_bell(self) -> usize {
        match self {
            Self::Owner => OWNER_BELL,
            Self::Mapper => MAPPER_BELL,
        }
    }

    /// Returns where the doorbell lies that this side rings.
    #[must_use]
    pub const fn peer_bell(self) -> usize {
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

/// Writes the state of `side`.
pub fn set_state<M: Memory>(memory: &M, side: Side, state: SideState) {
    memory.store(side.own_state(), state.number());
}

/// Fetches the state that the side opposite to `side` claims.
pub fn peer_state<M: Memory>(memory: &M, side: Side) -> SideState {
    SideState::from_number(memory.load(side.peer_state()))
}

/// Writes a new control page. `references` are those of all pages of the
/// region, the control page's first.
pub fn write<M: Memory>(memory: &M, nonce_a: &Nonce, references: &[u32]) {
    memory.store(AT_VERSION, VERSION);
    memory.write(AT_NONCE_A, nonce_a);
    for (index, reference) in references.iter().skip(1).take(LINK_PAGES - 1).enumerate() {
        memory.write(AT_REFERENCES + 4 * index, &reference.to_le_bytes());
    }
    memory.store(AT_MAGIC, MAGIC);
}

/// Whether a mapped page is the control page that answers to nonce A.
pub fn answers<M: Memory>(memory: &M, nonce_a: &Nonce) -> bool {
    let mut found = [0; 16];
    memory.read(AT_NONCE_A, &mut found);
    memory.load(AT_MAGIC) == MAGIC && memory.load(AT_VERSION) == VERSION && found == *nonce_a
}

/// Returns the grant references of the whole region, beginning with `control`,
/// the control page's own.
pub fn references<M: Memory>(memory: &M, control: u32) -> Vec<u32> {
    let mut bytes = [0; 4 * (LINK_PAGES - 1)];
    memory.read(AT_REFERENCES, &mut bytes);
    let others = bytes.as_chunks::<4>().0.iter();
    let mut references = Vec::with_capacity(LINK_PAGES);
    references.push(control);
    references.extend(others.map(|bytes| u32::from_le_bytes(*bytes)));
    references
}

/// Writes the mapper's proof.
pub fn write_proof<M: Memory>(memory: &M, nonce_b: &Nonce) {
    memory.write(AT_NONCE_B, nonce_b);
}

/// Whether the mapper has proved itself.
pub fn is_proved<M: Memory>(memory: &M, nonce_b: &Nonce) -> bool {
    let mut found = [0; 16];
    memory.read(AT_NONCE_B, &mut found);
    found == *nonce_b
}
