//! Everything together: links, connections, timers, outputs.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::config::Config;
use crate::connection::resend::Resend;
use crate::connection::{Conn, ConnId};
use crate::limits::{CONNECTIONS, DISCARD_BUFFER, OUTPUTS, PAGE, UNPROVED};
use crate::migration::Pending;
use crate::output::{Cause, Output};
use crate::platform::{DomId, Instant, Platform, PortState};
use crate::slab::Slab;
use crate::statistics::{ConnStatistics, LinkStatistics, Statistics};
use crate::stream::FourTuple;
use crate::vms::link::{Link, Phase};
use crate::vms::memory::Pages;
use crate::vms::retiring::Retiring;
use crate::vms::rings::User;
use crate::vms::{LinkId, Vms};
use shared_memory::Memory;

/// The channel of one guest.
///
/// Its user feeds it datagrams, events and the passing of time, does what it
/// asks for ([`Vmc::output`]), and reads and writes through it. It never waits.
pub struct Vmc<P: Platform> {
    pub(crate) platform: P,
    pub(crate) config: Config,
    pub(crate) vms: Vms,
    pub(crate) links: Slab<Link<P>>,
    pub(crate) conns: Slab<Conn<P>>,
    /// For SWITCH.
    pub(crate) tuples: BTreeMap<FourTuple, ConnId>,
    pub(crate) retiring: Vec<Retiring<P>>,
    pub(crate) resends: Vec<Resend>,
    /// The domain that this guest was last.
    pub(crate) domid: DomId,
    /// All links were left; nobody is greeted before `renew`.
    pub(crate) parted: bool,
    /// This guest is about to migrate, and its channel stays (`vmc=advance`).
    pub(crate) forewarned: bool,
    /// Links that ended in a suspend and are not settled.
    pub(crate) pendings: Vec<Pending>,
    pub(crate) stats: Statistics,
    /// What nobody reads is read into this.
    pub(crate) discard: Vec<u8>,
    outputs: VecDeque<Output>,
}

impl<P: Platform> Vmc<P> {
    /// A channel without peers.
    pub fn new(platform: P, config: Config) -> Self {
        Self {
            vms: Vms::default(),
            // A link may be replaced by one that is proved already.
            links: Slab::new(config.max_peers + UNPROVED + 1),
            conns: Slab::new(CONNECTIONS),
            tuples: BTreeMap::new(),
            retiring: Vec::new(),
            resends: Vec::new(),
            domid: platform.domid(),
            parted: false,
            forewarned: false,
            pendings: Vec::new(),
            stats: Statistics::default(),
            discard: alloc::vec![0; DISCARD_BUFFER],
            outputs: VecDeque::new(),
            config,
            platform,
        }
    }

    /// The platform.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// The platform.
    pub const fn platform_mut(&mut self) -> &mut P {
        &mut self.platform
    }

    /// The links whose event channels may fire, with those that wait for their
    /// proof.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &P::Port)> {
        self.links
            .iter()
            .map(|(key, link)| (LinkId(key), &link.port))
    }

    /// The event channel of a link has fired. Does a bounded amount of work.
    pub fn event(&mut self, link: LinkId) {
        let Some(index) = self.links.find(link.0) else {
            return;
        };
        if self.links.get(index).is_some_and(Link::is_proving) {
            self.look_for_proof(index);
        } else {
            self.serve_event(index);
            self.settle(index);
        }
    }

    /// Does what is due: timers, and work that was cut short.
    pub fn poll(&mut self) {
        let now = self.platform.now();
        self.ask_again(now);
        for index in 0..self.links.end() {
            self.poll_link(index, now);
        }
        if !self.retiring.is_empty() {
            self.take_back_again(now);
        }
        self.resend_again(now);
        self.resume_again(now);
    }

    fn poll_link(&mut self, index: usize, now: Instant) {
        let Some(link) = self.links.get(index) else {
            return;
        };
        if let Phase::Proving { until } = link.phase {
            if now >= until {
                self.give_up_proof(index, now);
            }
            return;
        }
        if link.more || link.must_catch_up() {
            self.serve_messages(index);
        }
        if self.forewarned {
            self.keep_lean(index, now);
        }
        self.look_after(index, now);
        self.settle(index);
    }

    /// Whether the peer lives, and takes its messages.
    fn look_after(&mut self, index: usize, now: Instant) {
        let key = self.links.key(index);
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        if link.stuck_at.is_some_and(|at| now >= at) {
            link.fault = Some(Cause::Stuck);
        } else if now >= link.look_at {
            link.look_at = link.next_look(now);
            if !self.forewarned {
                let linked = self.conns.iter_mut();
                for (_, conn) in linked.filter(|(_, conn)| conn.link == key) {
                    conn.look();
                }
            }
            let cause = match self.platform.port_state(&link.port) {
                PortState::Connected => return,
                PortState::Unbound => Cause::Gone,
                PortState::Stale => Cause::Renewed,
            };
            if cause == Cause::Gone {
                // It may have left in order, and its event is still to come.
                self.read_last(index);
            }
            if let Some(link) = self.links.get_mut(index) {
                link.fault.get_or_insert(match link.phase {
                    Phase::Leaving { cause, .. } => cause,
                    _ => cause,
                });
            }
        }
    }

    /// Ends a link that has a reason to end. After everything that can find one.
    pub(crate) fn settle(&mut self, index: usize) {
        if let Some(cause) = self.links.get(index).and_then(|link| link.fault) {
            self.close_link(index, cause);
        } else {
            self.step_leave(index);
        }
    }

    /// When [`Vmc::poll`] is to be called next, at the latest. None: never.
    pub fn deadline(&self) -> Option<Instant> {
        let links = self.links.iter().map(|(_, link)| match link.phase {
            Phase::Proving { until } => until,
            Phase::Leaving { until, .. } => until.min(link.look_at),
            Phase::Open => [link.stuck_at, link.lean_at.filter(|_| self.forewarned)]
                .into_iter()
                .flatten()
                .fold(link.look_at, Instant::min),
        });
        links
            .chain(self.ask_at())
            .chain(self.take_back_at())
            .chain(self.resend_at())
            .chain(self.resume_at())
            .min()
    }

    /// Work was cut short: [`Vmc::poll`] is to be called again when others had
    /// their turn.
    pub fn has_work(&self) -> bool {
        self.links
            .iter()
            .any(|(_, link)| link.more || link.fault.is_some() || link.must_catch_up())
    }

    /// Sends the notifications that were put off. To be called before the
    /// guest blocks.
    pub fn flush(&mut self) {
        for (_, link) in self.links.iter_mut() {
            if !link.is_proving() {
                link.flush(&self.platform);
            }
        }
    }

    /// The next thing to do. Their number is bounded: one of each kind for a
    /// connection, and what may be lost is dropped where there is too much.
    pub fn output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if let Some(Output::LinkUp { address }) = output
            && let Some(index) = self.vms.link(address)
            && let Some(link) = self.links.get_mut(index)
        {
            link.announced = true;
        }
        output
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        let mut stats = self.stats;
        stats.retiring = self.retiring.len();
        for (_, link) in self.links.iter() {
            stats.notifications += link.counters.notifications;
            stats.suppressed += link.counters.suppressed;
        }
        stats
    }

    /// What happened on the links that are up.
    pub fn link_statistics(&self) -> impl Iterator<Item = LinkStatistics> {
        let up = self.links.iter().filter(|(_, link)| !link.is_proving());
        up.map(|(key, link)| LinkStatistics {
            link: LinkId(key),
            address: link.address,
            uuid: link.uuid,
            domid: link.domid,
            counters: link.counters,
        })
    }

    /// The memory of the rings that connections use, and that this guest owns.
    pub fn own_rings(&self) -> impl Iterator<Item = &P::Region> {
        self.rings_in_use().filter_map(|memory| match memory {
            Pages::Own(region) => Some(region),
            Pages::Peers(_) => None,
        })
    }

    /// Pages of the rings that connections use, and that peers own.
    pub fn foreign_ring_pages(&self) -> usize {
        let bytes = |memory: &Pages<P>| match memory {
            Pages::Own(_) => 0,
            Pages::Peers(mapping) => mapping.len(),
        };
        self.rings_in_use().map(bytes).sum::<usize>() / PAGE
    }

    fn rings_in_use(&self) -> impl Iterator<Item = &Pages<P>> {
        self.links.iter().flat_map(|(_, link)| {
            let own = link.own.iter().flatten();
            let own = own.filter(|ring| matches!(ring.user, User::Conn(_)));
            let peers = link.peers.iter().flatten();
            let peers = peers.filter(|ring| ring.user.is_some());
            own.map(|ring| &ring.memory)
                .chain(peers.filter_map(|ring| ring.memory.as_ref()))
        })
    }

    /// What happened to the connections.
    pub fn connection_statistics(&self) -> impl Iterator<Item = (ConnId, ConnStatistics)> {
        self.conns
            .iter()
            .map(|(key, conn)| (ConnId(key), conn.statistics()))
    }

    /// Asks for something that must not be lost.
    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Asks for something that may be lost.
    pub(crate) fn output_if_room(&mut self, output: Output) {
        if self.has_room() {
            self.emit(output);
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.outputs.len() < OUTPUTS
    }

    pub(crate) fn note_wrong_address(&mut self) {
        self.stats.ends[Cause::WrongAddress as usize] += 1;
    }
}
