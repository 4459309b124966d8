//! Domains of one host that share memory and ports, without a hypervisor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec::Vec;

use crate::platform::{DomId, Instant, Platform, PlatformError, PortState};
use shared_memory::Memory;
use shared_memory::Words;

const PAGE: usize = 4096;

struct Grant {
    owner: DomId,
    peer: DomId,
    words: Words,
    page: usize,
    mapped: usize,
}

#[derive(Clone, Copy)]
struct End {
    owner: DomId,
    remote: DomId,
    other: Option<usize>,
    pending: bool,
    open: bool,
}

#[derive(Default)]
pub(super) struct Host {
    grants: RefCell<Vec<Option<Grant>>>,
    ports: RefCell<Vec<End>>,
    pub(super) clock: Cell<u64>,
    pub(super) notifications: Cell<usize>,
}

impl Host {
    pub(super) fn dom(self: &Rc<Self>, domid: DomId) -> Dom {
        Dom {
            host: self.clone(),
            domid,
            random: u64::from(domid),
            map_fails: false,
        }
    }

    /// Grants that exist, and ports that are open.
    pub(super) fn holdings(&self) -> (usize, usize) {
        let ports = self.ports.borrow();
        (
            self.grants.borrow().iter().flatten().count(),
            ports.iter().filter(|end| end.open).count(),
        )
    }

    /// A domain dies: its ports close, its grants end.
    pub(super) fn kill(&self, domid: DomId) {
        for grant in self.grants.borrow_mut().iter_mut() {
            if grant.as_ref().is_some_and(|grant| grant.owner == domid) {
                *grant = None;
            }
        }
        let count = self.ports.borrow().len();
        for port in 0..count {
            if self.ports.borrow()[port].owner == domid {
                self.close(port);
            }
        }
    }

    fn close(&self, port: usize) {
        let mut ports = self.ports.borrow_mut();
        ports[port].open = false;
        if let Some(other) = ports[port].other.take() {
            ports[other].other = None;
        }
    }
}

pub(super) struct Dom {
    host: Rc<Host>,
    domid: DomId,
    random: u64,
    /// The next rings cannot be mapped.
    pub(super) map_fails: bool,
}

pub(super) struct Region {
    words: Words,
    references: Vec<u32>,
}

pub(super) struct Mapping {
    host: Rc<Host>,
    words: Words,
    start: usize,
    references: Vec<u32>,
}

pub(super) struct Port {
    host: Rc<Host>,
    number: usize,
}

impl Port {
    pub(super) fn take_pending(&self) -> bool {
        core::mem::take(&mut self.host.ports.borrow_mut()[self.number].pending)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.host.close(self.number);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        for reference in &self.references {
            if let Some(grant) = &mut self.host.grants.borrow_mut()[*reference as usize] {
                grant.mapped -= 1;
            }
        }
    }
}

impl Platform for Dom {
    type Region = Region;
    type Mapping = Mapping;
    type Port = Port;

    fn domid(&self) -> DomId {
        self.domid
    }

    fn now(&self) -> Instant {
        Instant(self.host.clock.get())
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005) + 1;
            *byte = (self.random >> 33) as u8;
        }
    }

    fn grant(&mut self, peer: DomId, pages: usize) -> Result<Region, PlatformError> {
        let words = Words::new(pages * PAGE);
        let mut grants = self.host.grants.borrow_mut();
        let references = (0..pages).map(|page| {
            grants.push(Some(Grant {
                owner: self.domid,
                peer,
                words: words.clone(),
                page,
                mapped: 0,
            }));
            grants.len() as u32 - 1
        });
        let references = references.collect();
        Ok(Region { words, references })
    }

    fn references(&self, region: &Region, into: &mut Vec<u32>) {
        into.extend(&region.references);
    }

    fn is_stale(&self, region: &Region) -> bool {
        let grants = self.host.grants.borrow();
        let is_gone = |at: &u32| grants[*at as usize].is_none();
        region.references.iter().all(is_gone)
    }

    fn revoke(&mut self, region: Region) -> Result<(), Region> {
        let mut grants = self.host.grants.borrow_mut();
        let mapped = region.references.iter().any(|at| {
            grants[*at as usize]
                .as_ref()
                .is_some_and(|one| one.mapped > 0)
        });
        if mapped {
            return Err(region);
        }
        for at in region.references {
            grants[at as usize] = None;
        }
        Ok(())
    }

    fn map(&mut self, peer: DomId, references: &[u32]) -> Result<Mapping, PlatformError> {
        if self.map_fails && references.len() != 1 && references.len() != 9 {
            return Err(PlatformError::NoRoom);
        }
        let mut grants = self.host.grants.borrow_mut();
        let mut first = None;
        for (index, at) in references.iter().enumerate() {
            let grant = grants.get(*at as usize).and_then(Option::as_ref);
            let grant = grant.filter(|grant| grant.owner == peer && grant.peer == self.domid);
            let grant = grant.ok_or(PlatformError::Refused)?;
            let (_, start) = first.get_or_insert((grant.words.clone(), grant.page));
            assert_eq!(grant.page, *start + index, "tests map what is adjacent");
        }
        for at in references {
            grants[*at as usize].as_mut().expect("seen above").mapped += 1;
        }
        let (words, page) = first.ok_or(PlatformError::Refused)?;
        Ok(Mapping {
            host: self.host.clone(),
            words,
            start: page * PAGE,
            references: references.to_vec(),
        })
    }

    fn open_port(&mut self, peer: DomId) -> Result<Port, PlatformError> {
        Ok(self.new_port(peer, None))
    }

    fn bind_port(&mut self, peer: DomId, port: u32) -> Result<Port, PlatformError> {
        let number = port as usize;
        let end = self.host.ports.borrow().get(number).copied();
        let end = end.filter(|end| end.open && end.owner == peer && end.remote == self.domid);
        end.filter(|end| end.other.is_none())
            .ok_or(PlatformError::Refused)?;
        let own = self.new_port(peer, Some(number));
        self.host.ports.borrow_mut()[number].other = Some(own.number);
        Ok(own)
    }

    fn port_number(&self, port: &Port) -> u32 {
        port.number as u32
    }

    fn notify(&self, port: &Port) {
        self.host
            .notifications
            .set(self.host.notifications.get() + 1);
        let mut ports = self.host.ports.borrow_mut();
        if let Some(other) = ports[port.number].other {
            ports[other].pending = true;
        }
    }

    fn port_state(&self, port: &Port) -> PortState {
        match self.host.ports.borrow()[port.number].other {
            Some(_) => PortState::Connected,
            None => PortState::Unbound,
        }
    }
}

impl Dom {
    fn new_port(&self, remote: DomId, other: Option<usize>) -> Port {
        let mut ports = self.host.ports.borrow_mut();
        ports.push(End {
            owner: self.domid,
            remote,
            other,
            pending: false,
            open: true,
        });
        Port {
            host: self.host.clone(),
            number: ports.len() - 1,
        }
    }
}

impl Memory for Region {
    fn len(&self) -> usize {
        self.words.len()
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.words.read(offset, into);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.words.write(offset, from);
    }
    fn load(&self, offset: usize) -> u64 {
        self.words.load(offset)
    }
    fn store(&self, offset: usize, value: u64) {
        self.words.store(offset, value);
    }
    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.words.fetch_or(offset, bits)
    }
    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.words.swap(offset, value)
    }
    fn fence(&self) {
        self.words.fence();
    }
}

impl Memory for Mapping {
    fn len(&self) -> usize {
        self.references.len() * PAGE
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.words.read(self.start + offset, into);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.words.write(self.start + offset, from);
    }
    fn load(&self, offset: usize) -> u64 {
        self.words.load(self.start + offset)
    }
    fn store(&self, offset: usize, value: u64) {
        self.words.store(self.start + offset, value);
    }
    fn fetch_or(&self, offset: usize, bits: u64) -> u64 {
        self.words.fetch_or(self.start + offset, bits)
    }
    fn swap(&self, offset: usize, value: u64) -> u64 {
        self.words.swap(self.start + offset, value)
    }
    fn fence(&self) {
        self.words.fence();
    }
}
