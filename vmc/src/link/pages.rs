//! Shared pages as one side holds them: granted, or mapped.

use shared_memory::Memory;

use crate::platform::Platform;

/// Adjacent pages that two guests share.
pub(crate) enum Pages<P: Platform> {
    /// This guest granted them.
    Own(P::Region),
    /// The peer granted them, and they are mapped here.
    Peers(P::Mapping),
}

impl<P: Platform> Pages<P> {
    /// Whether this guest granted them.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

impl<P: Platform> Memory for Pages<P> {
    fn len(&self) -> usize {
        match self {
            Self::Own(memory) => memory.len(),
            Self::Peers(memory) => memory.len(),
        }
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        match self {
            Self::Own(memory) => memory.read(offset, into),
            Self::Peers(memory) => memory.read(offset, into),
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        match self {
            Self::Own(memory) => memory.write(offset, from),
            Self::Peers(memory) => memory.write(offset, from),
        }
    }

    fn load(&self, offset: usize) -> u64 {
        match self {
            Self::Own(memory) => memory.load(offset),
            Self::Peers(memory) => memory.load(offset),
        }
    }

    fn store(&self, offset: usize, value: u64) {
        match self {
            Self::Own(memory) => memory.store(offset, value),
            Self::Peers(memory) => memory.store(offset, value),
        }
    }

    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        match self {
            Self::Own(memory) => memory.fetch_or(offset, bits),
            Self::Peers(memory) => memory.fetch_or(offset, bits),
        }
    }

    fn swap(&self, offset: usize, value: u64) -> u64 {
        match self {
            Self::Own(memory) => memory.swap(offset, value),
            Self::Peers(memory) => memory.swap(offset, value),
        }
    }

    fn fence(&self) {
        match self {
            Self::Own(memory) => memory.fence(),
            Self::Peers(memory) => memory.fence(),
        }
    }
}
