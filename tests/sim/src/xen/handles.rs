//! What a domain holds: regions, mappings, ports. Dropping one gives it up.

use std::rc::Rc;

use shared_memory::Memory;
use vmc::platform::{DomId, PortState};

use super::{Pages, SharedHost, moment};

/// The domain that made a handle. A host never uses a domid twice, so a handle
/// from before a migration finds no domain and is stale.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) host: SharedHost,
    pub(super) domid: DomId,
}

macro_rules! memory {
    ($name:ident) => {
        impl Memory for $name {
            fn len(&self) -> usize {
                self.pages.len()
            }
            fn read(&self, offset: usize, into: &mut [u8]) {
                self.pages.read(offset, into);
            }
            fn write(&self, offset: usize, from: &[u8]) {
                self.pages.write(offset, from);
            }
            fn load(&self, offset: usize) -> u64 {
                self.pages.load(offset)
            }
            fn store(&self, offset: usize, value: u64) {
                self.pages.store(offset, value);
            }
            fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
                self.pages.fetch_or(offset, bits)
            }
            fn swap(&self, offset: usize, value: u64) -> u64 {
                self.pages.swap(offset, value)
            }
            fn fence(&self) {}
        }
    };
}

/// Pages of this domain that one other domain may map.
#[derive(Debug)]
pub struct Region {
    pub(super) home: Home,
    pub(super) pages: Pages,
    pub(super) references: Vec<u32>,
}

memory!(Region);

impl Drop for Region {
    fn drop(&mut self) {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        host.quarantine(self.home.domid, &self.references);
    }
}

/// Pages of another domain.
#[derive(Debug)]
pub struct Mapping {
    pub(super) home: Home,
    pub(super) owner: DomId,
    pub(super) pages: Pages,
    pub(super) references: Vec<u32>,
}

memory!(Mapping);

impl Drop for Mapping {
    fn drop(&mut self) {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        host.unmap(self.home.domid, self.owner, &self.references);
    }
}

/// One end of an event channel.
#[derive(Debug)]
pub struct Port {
    pub(super) home: Home,
    pub(super) number: u32,
}

impl Port {
    pub(super) fn state(&self) -> PortState {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        match host.channel(self.home.domid, self.number) {
            Some(channel) if channel.peer.is_some() => PortState::Connected,
            Some(_) => PortState::Unbound,
            None => PortState::Stale,
        }
    }

    pub(super) fn live_number(&self) -> u32 {
        match self.state() {
            PortState::Stale => 0,
            _ => self.number,
        }
    }

    pub(super) fn notify(&self) {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        host.notify(self.home.domid, self.number);
    }

    /// Whether the other end has rung.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let mut host = self.home.host.borrow_mut();
        host.channel(self.home.domid, self.number)
            .is_some_and(|channel| channel.pending)
    }

    /// Whether the other end has rung; clears it.
    #[must_use]
    pub fn take_pending(&self) -> bool {
        let mut host = self.home.host.borrow_mut();
        host.channel(self.home.domid, self.number)
            .is_some_and(|channel| std::mem::take(&mut channel.pending))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        host.close(self.home.domid, self.number);
    }
}

impl Home {
    pub(super) fn new(host: &SharedHost, domid: DomId) -> Self {
        Self {
            host: Rc::clone(host),
            domid,
        }
    }
}
