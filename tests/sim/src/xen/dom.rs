//! A domain's view of the fake Xen.

use std::cell::Cell;
use std::mem;
use std::rc::Rc;

use vmc::platform::{DomId, Instant, Platform, PlatformError, PortState};

use super::handles::{Home, Mapping, Port, Region};
use super::{Holdings, Limits, Pages, SharedHost, moment};

/// The virtual clock, in nanoseconds; one for the whole world.
pub type Clock = Rc<Cell<u64>>;

/// The platform of one guest, which keeps it when it migrates.
#[derive(Debug)]
pub struct Dom {
    home: Home,
    clock: Clock,
    random: fastrand::Rng,
}

impl Dom {
    /// Boots a guest on `host`.
    #[must_use]
    pub fn boot(host: &SharedHost, clock: &Clock, seed: u64) -> Self {
        let domid = host.borrow_mut().create();
        Self {
            home: Home::new(host, domid),
            clock: Rc::clone(clock),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Returns another handle of the same domain.
    #[must_use]
    pub fn twin(&mut self) -> Self {
        Self {
            home: self.home.clone(),
            clock: Rc::clone(&self.clock),
            random: self.random.fork(),
        }
    }

    /// Makes the guest another domain, on `host`, and destroys the old one.
    pub fn migrate(&mut self, host: &SharedHost) {
        let domid = host.borrow_mut().create();
        let old = mem::replace(&mut self.home, Home::new(host, domid));
        old.host.borrow_mut().destroy(old.domid);
    }

    /// The guest is about to be suspended: see [`Host::begin_last_round`](super::Host).
    pub fn begin_last_round(&mut self) {
        let mut host = self.home.host.borrow_mut();
        host.begin_last_round(self.home.domid);
    }

    /// Suspends the guest.
    pub fn suspend(&mut self) {
        self.home.host.borrow_mut().suspend(self.home.domid);
    }

    /// Destroys the guest.
    pub fn end(&mut self) {
        self.home.host.borrow_mut().destroy(self.home.domid);
    }

    /// Returns the machine that the guest is on.
    #[must_use]
    pub fn host(&self) -> &SharedHost {
        &self.home.host
    }

    /// Returns what the guest holds.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        self.home.host.borrow().holdings(self.home.domid)
    }

    /// Sets what the guest may have from now on.
    pub fn limit(&mut self, limits: Limits) {
        self.home.host.borrow_mut().limit(self.home.domid, limits);
    }
}

impl Platform for Dom {
    type Region = Region;
    type Mapping = Mapping;
    type Port = Port;

    fn domid(&self) -> DomId {
        self.home.domid
    }

    fn now(&self) -> Instant {
        Instant(self.clock.get())
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(bytes);
    }

    fn grant(&mut self, peer: DomId, pages: usize) -> Result<Region, PlatformError> {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        let (pages, references) = host.grant(self.home.domid, peer, pages)?;
        Ok(Region {
            home: self.home.clone(),
            pages,
            references,
        })
    }

    fn references(&self, region: &Region, into: &mut Vec<u32>) {
        into.extend_from_slice(&region.references);
    }

    fn is_stale(&self, region: &Region) -> bool {
        !region.home.host.borrow().is_alive(region.home.domid)
    }

    fn revoke(&mut self, region: Region) -> Result<(), Region> {
        moment::pass();
        let home = &region.home;
        let is_free = home
            .host
            .borrow_mut()
            .revoke(home.domid, &region.references);
        if is_free { Ok(()) } else { Err(region) }
    }

    fn map(&mut self, peer: DomId, references: &[u32]) -> Result<Mapping, PlatformError> {
        moment::pass();
        let pages: Pages = {
            let mut host = self.home.host.borrow_mut();
            host.map(self.home.domid, peer, references)?
        };
        Ok(Mapping {
            home: self.home.clone(),
            owner: peer,
            pages,
            references: references.to_vec(),
        })
    }

    fn open_port(&mut self, peer: DomId) -> Result<Port, PlatformError> {
        moment::pass();
        let number = self.home.host.borrow_mut().open(self.home.domid, peer)?;
        Ok(Port {
            home: self.home.clone(),
            number,
        })
    }

    fn bind_port(&mut self, peer: DomId, port: u32) -> Result<Port, PlatformError> {
        moment::pass();
        let mut host = self.home.host.borrow_mut();
        let number = host.bind(self.home.domid, peer, port)?;
        drop(host);
        Ok(Port {
            home: self.home.clone(),
            number,
        })
    }

    fn port_number(&self, port: &Port) -> u32 {
        port.live_number()
    }

    fn notify(&self, port: &Port) {
        port.notify();
    }

    fn port_state(&self, port: &Port) -> PortState {
        port.state()
    }
}
