//! A fake Xen: domains, grants, event channels, and what happens to them.
//!
//! One [`Host`] is one machine. Reading order: `page` (memory that several
//! domains see), this file (what the hypervisor keeps about each domain), `dom` (a domain's view: `vmc::platform::Platform`),
//! `handles` (what it holds), `moment` (what another processor does in the middle of
//! a call).

mod dom;
mod handles;
mod moment;
mod page;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use vmc::platform::{DomId, PlatformError};

pub use dom::{Clock, Dom};
pub use handles::{Mapping, Port, Region};
pub use moment::{Elsewhere, during};
pub use page::{PAGE, Pages, Tamper};

use page::Page;

/// One machine, as its domains share it.
pub type SharedHost = Rc<RefCell<Host>>;

/// Everything the hypervisor of one machine knows.
#[derive(Debug, Default)]
pub struct Host {
    domains: BTreeMap<DomId, Domain>,
    next: DomId,
    /// Event channel notifications sent so far.
    pub notifications: u64,
    /// Hypercalls for grants and event channels so far, notifications included.
    pub calls: u64,
}

/// Limits of a domain, as the toolstack and the administrator set them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Granted pages.
    pub grants: usize,
    /// Mapped pages of others.
    pub maps: usize,
    /// Event channels.
    pub ports: usize,
}

impl Limits {
    /// No limit.
    pub const NONE: Self = Self {
        grants: usize::MAX,
        maps: usize::MAX,
        ports: usize::MAX,
    };
}

#[derive(Debug)]
struct Domain {
    limits: Limits,
    grants: BTreeMap<u32, Grant>,
    ports: BTreeMap<u32, Channel>,
    /// Pages of others that this domain maps.
    maps: Vec<(DomId, u32)>,
    /// Its regions, so that a migration can give it pages of its own.
    regions: Vec<Weak<RefCell<Vec<Rc<Page>>>>>,
    tamper: Option<Rc<Tamper>>,
    keeps_mappings: bool,
}

#[derive(Debug)]
struct Grant {
    to: DomId,
    page: Rc<Page>,
    maps: usize,
    quarantined: bool,
}

#[derive(Debug)]
struct Channel {
    remote: DomId,
    peer: Option<u32>,
    pending: bool,
}

/// Resources of the hypervisor that a domain holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Pages granted, without quarantined ones.
    pub grants: usize,
    /// Pages granted that the owner gave up while the peer mapped them.
    pub quarantined: usize,
    /// Pages of others that it maps.
    pub maps: usize,
    /// Event channels.
    pub ports: usize,
}

impl Host {
    /// Returns a machine whose first guest gets the domid `first`.
    #[must_use]
    pub fn new(first: DomId) -> SharedHost {
        Rc::new(RefCell::new(Self {
            next: first,
            ..Self::default()
        }))
    }

    /// Creates a domain, for a guest that boots here or arrives.
    pub fn create(&mut self) -> DomId {
        let number = self.next;
        self.next += 1;
        self.domains.insert(
            number,
            Domain {
                limits: Limits::NONE,
                grants: BTreeMap::new(),
                ports: BTreeMap::new(),
                maps: Vec::new(),
                regions: Vec::new(),
                tamper: None,
                keeps_mappings: false,
            },
        );
        number
    }

    /// Destroys a domain: closes its channels and unmaps what it maps. Pages
    /// that it granted remain with the domains that map them.
    pub fn destroy(&mut self, number: DomId) {
        let Some(domain) = self.domains.remove(&number) else {
            return;
        };
        for (owner, reference) in domain.maps {
            self.unmapped(owner, reference);
        }
        for channel in domain.ports.into_values() {
            self.hang_up(number, &channel);
        }
        for region in domain.regions.iter().filter_map(Weak::upgrade) {
            for page in region.borrow_mut().iter_mut() {
                *page = page.copied();
            }
        }
    }

    /// A domain is about to be suspended: a page that it writes from now on is sent after that,
    /// whatever others write to it until then (`tools/libs/guest/xg_sr_save.c`: the log of dirty
    /// pages is read again once the domain is suspended).
    pub fn begin_last_round(&mut self, number: DomId) {
        let domain = self.domains.get(&number);
        let regions = domain.map(|domain| &domain.regions);
        for region in regions.into_iter().flatten().filter_map(Weak::upgrade) {
            region
                .borrow()
                .iter()
                .for_each(|page| page.begin_last_round());
        }
    }

    /// Suspends a domain: a migration sends what its pages hold now.
    pub fn suspend(&mut self, number: DomId) {
        let domain = self.domains.get(&number);
        let regions = domain.map(|domain| &domain.regions);
        for region in regions.into_iter().flatten().filter_map(Weak::upgrade) {
            region.borrow().iter().for_each(|page| page.suspend());
        }
    }

    /// Whether a domain of this number exists.
    #[must_use]
    pub fn is_alive(&self, number: DomId) -> bool {
        self.domains.contains_key(&number)
    }

    /// Returns what a domain holds.
    #[must_use]
    pub fn holdings(&self, number: DomId) -> Holdings {
        let Some(domain) = self.domains.get(&number) else {
            return Holdings::default();
        };
        let quarantined = domain.grants.values().filter(|grant| grant.quarantined);
        let quarantined = quarantined.count();
        Holdings {
            grants: domain.grants.len() - quarantined,
            quarantined,
            maps: domain.maps.len(),
            ports: domain.ports.len(),
        }
    }

    /// Returns what one domain shares with another.
    #[must_use]
    pub fn shares(&self, number: DomId, with: DomId) -> Holdings {
        let Some(domain) = self.domains.get(&number) else {
            return Holdings::default();
        };
        let grants = domain.grants.values().filter(|grant| grant.to == with);
        let (quarantined, grants): (Vec<_>, Vec<_>) = grants.partition(|grant| grant.quarantined);
        Holdings {
            grants: grants.len(),
            quarantined: quarantined.len(),
            maps: domain.maps.iter().filter(|map| map.0 == with).count(),
            ports: domain
                .ports
                .values()
                .filter(|port| port.remote == with)
                .count(),
        }
    }

    /// Returns the domains to which a domain grants pages or opens ports.
    #[must_use]
    pub fn trusted(&self, number: DomId) -> BTreeSet<DomId> {
        let Some(domain) = self.domains.get(&number) else {
            return BTreeSet::new();
        };
        let grants = domain.grants.values().map(|grant| grant.to);
        grants
            .chain(domain.ports.values().map(|port| port.remote))
            .collect()
    }

    /// Sets what a domain may have.
    pub fn limit(&mut self, number: DomId, limits: Limits) {
        if let Some(domain) = self.domains.get_mut(&number) {
            domain.limits = limits;
        }
    }

    /// Has `tamper` spoil every page that this domain shares from now on. If it
    /// `keeps_mappings`, it never unmaps a page.
    pub fn make_hostile(&mut self, number: DomId, tamper: &Rc<Tamper>, keeps_mappings: bool) {
        if let Some(domain) = self.domains.get_mut(&number) {
            domain.tamper = Some(Rc::clone(tamper));
            domain.keeps_mappings = keeps_mappings;
        }
    }

    /// Returns every page that a domain can write and has granted or mapped.
    #[must_use]
    pub fn shared_pages(&self, number: DomId) -> Vec<Pages> {
        let Some(domain) = self.domains.get(&number) else {
            return Vec::new();
        };
        let own = domain.grants.values().map(|grant| &grant.page);
        let others = domain.maps.iter().filter_map(|(owner, reference)| {
            let grant = self.domains.get(owner)?.grants.get(reference)?;
            Some(&grant.page)
        });
        own.chain(others)
            .map(|page| Pages::new(vec![Rc::clone(page)], true))
            .collect()
    }

    /// Raises every event channel of a domain, as a flooding peer does.
    pub fn flood(&mut self, number: DomId) {
        let ports: Vec<_> = self
            .domains
            .get(&number)
            .map(|domain| domain.ports.keys().copied().collect())
            .unwrap_or_default();
        for port in ports {
            self.notify(number, port);
        }
    }

    fn grant(
        &mut self,
        number: DomId,
        to: DomId,
        pages: usize,
    ) -> Result<(Pages, Vec<u32>), PlatformError> {
        self.calls += 1;
        let domain = self
            .domains
            .get_mut(&number)
            .ok_or(PlatformError::Refused)?;
        let free = domain.limits.grants.saturating_sub(domain.grants.len());
        if free < pages {
            // As in a guest, either memory or the grant table runs out first.
            return Err(if free.is_multiple_of(2) {
                PlatformError::NoMemory
            } else {
                PlatformError::NoRoom
            });
        }
        let mut references = Vec::new();
        let mut memory = Vec::new();
        let mut reference = 8;
        for _ in 0..pages {
            while domain.grants.contains_key(&reference) {
                reference += 1;
            }
            let page = Page::zeroed();
            if let Some(tamper) = &domain.tamper {
                page.expose(tamper);
            }
            memory.push(Rc::clone(&page));
            let grant = Grant {
                to,
                page,
                maps: 0,
                quarantined: false,
            };
            domain.grants.insert(reference, grant);
            references.push(reference);
        }
        let pages = Pages::new(memory, false);
        domain.regions.retain(|region| region.strong_count() > 0);
        domain.regions.push(Rc::downgrade(&pages.pages));
        Ok((pages, references))
    }

    /// Takes grants back; returns `false` if the peer maps one of them.
    fn revoke(&mut self, number: DomId, references: &[u32]) -> bool {
        self.calls += 1;
        let Some(domain) = self.domains.get_mut(&number) else {
            return true;
        };
        let grants = &mut domain.grants;
        if references
            .iter()
            .any(|r| grants.get(r).is_some_and(|grant| grant.maps > 0))
        {
            return false;
        }
        for reference in references {
            grants.remove(reference);
        }
        true
    }

    /// Gives up on grants: unmapped ones end, the others are quarantined.
    fn quarantine(&mut self, number: DomId, references: &[u32]) {
        let Some(domain) = self.domains.get_mut(&number) else {
            return;
        };
        for reference in references {
            match domain.grants.get_mut(reference) {
                Some(grant) if grant.maps > 0 => grant.quarantined = true,
                _ => _ = domain.grants.remove(reference),
            }
        }
    }

    fn map(
        &mut self,
        number: DomId,
        owner: DomId,
        references: &[u32],
    ) -> Result<Pages, PlatformError> {
        self.calls += 1;
        let domain = self.domains.get(&number).ok_or(PlatformError::Refused)?;
        if domain.limits.maps.saturating_sub(domain.maps.len()) < references.len() {
            return Err(PlatformError::NoRoom);
        }
        let tamper = domain.tamper.clone();
        let grants = &mut self
            .domains
            .get_mut(&owner)
            .ok_or(PlatformError::Refused)?
            .grants;
        let fits = |r| {
            grants
                .get(r)
                .is_some_and(|grant| grant.to == number && !grant.quarantined)
        };
        if !references.iter().all(fits) {
            return Err(PlatformError::Refused);
        }
        let mut pages = Vec::new();
        for reference in references {
            if let Some(grant) = grants.get_mut(reference) {
                grant.maps += 1;
                if let Some(tamper) = &tamper {
                    grant.page.expose(tamper);
                }
                pages.push(Rc::clone(&grant.page));
            }
        }
        if let Some(domain) = self.domains.get_mut(&number) {
            domain
                .maps
                .extend(references.iter().map(|&reference| (owner, reference)));
        }
        Ok(Pages::new(pages, true))
    }

    fn unmap(&mut self, number: DomId, owner: DomId, references: &[u32]) {
        let Some(domain) = self.domains.get_mut(&number) else {
            return;
        };
        if domain.keeps_mappings {
            return;
        }
        for &reference in references {
            if let Some(at) = domain
                .maps
                .iter()
                .position(|&map| map == (owner, reference))
            {
                domain.maps.swap_remove(at);
            }
        }
        for &reference in references {
            self.unmapped(owner, reference);
        }
    }

    fn unmapped(&mut self, owner: DomId, reference: u32) {
        if let Some(domain) = self.domains.get_mut(&owner)
            && let Some(grant) = domain.grants.get_mut(&reference)
        {
            grant.maps -= 1;
        }
    }
}

/// Event channels, as in Xen's `event_channel.c`.
impl Host {
    fn add_port(&mut self, number: DomId, channel: Channel) -> Result<u32, PlatformError> {
        let domain = self
            .domains
            .get_mut(&number)
            .ok_or(PlatformError::Refused)?;
        if domain.ports.len() >= domain.limits.ports {
            return Err(PlatformError::NoRoom);
        }
        let mut port = 4;
        while domain.ports.contains_key(&port) {
            port += 1;
        }
        domain.ports.insert(port, channel);
        Ok(port)
    }

    fn channel(&mut self, number: DomId, port: u32) -> Option<&mut Channel> {
        self.domains.get_mut(&number)?.ports.get_mut(&port)
    }

    fn open(&mut self, number: DomId, remote: DomId) -> Result<u32, PlatformError> {
        let channel = Channel {
            remote,
            peer: None,
            pending: false,
        };
        self.add_port(number, channel)
    }

    fn bind(&mut self, number: DomId, remote: DomId, port: u32) -> Result<u32, PlatformError> {
        match self.channel(remote, port) {
            Some(channel) if channel.remote == number && channel.peer.is_none() => {}
            _ => return Err(PlatformError::Refused),
        }
        // `evtchn_bind_interdomain` raises the new end, because a notification
        // may have been lost before.
        let channel = Channel {
            remote,
            peer: Some(port),
            pending: true,
        };
        let own = self.add_port(number, channel)?;
        if let Some(channel) = self.channel(remote, port) {
            channel.peer = Some(own);
        }
        Ok(own)
    }

    fn close(&mut self, number: DomId, port: u32) {
        let domain = self.domains.get_mut(&number);
        if let Some(channel) = domain.and_then(|domain| domain.ports.remove(&port)) {
            self.hang_up(number, &channel);
        }
    }

    /// Unbinds the other end of a closed channel, without telling it.
    fn hang_up(&mut self, number: DomId, closed: &Channel) {
        if let Some(port) = closed.peer
            && let Some(channel) = self.channel(closed.remote, port)
            && channel.remote == number
        {
            channel.peer = None;
        }
    }

    fn notify(&mut self, number: DomId, port: u32) {
        self.calls += 1;
        self.notifications += 1;
        if let Some(&mut Channel {
            remote,
            peer: Some(peer),
            ..
        }) = self.channel(number, port)
            && let Some(channel) = self.channel(remote, peer)
        {
            channel.pending = true;
        }
    }
}
