//! What there is, link by link and connection by connection.

use shared_memory::Memory;

use crate::flow::Conns;
use crate::keys::{ConnKey, LinkKey};
use crate::link::{Links, Pages};
use crate::platform::Platform;
use crate::statistics::{ConnStatistics, LinkStatistics};
use crate::wire::ring::PAGE;

/// A view of the links and connections of a channel.
pub struct Report<'a, P: Platform> {
    pub(crate) links: &'a Links<P>,
    pub(crate) conns: &'a Conns<P>,
}

impl<'a, P: Platform> Report<'a, P> {
    /// Returns what happened on the links that are up.
    pub fn links(&self) -> impl Iterator<Item = (LinkKey, LinkStatistics)> + 'a {
        let up = self.links.iter().filter(|(_, link)| !link.is_proving());
        up.map(|(key, link)| (key, link.statistics()))
    }

    /// Returns what happened to the connections.
    pub fn connections(&self) -> impl Iterator<Item = (ConnKey, ConnStatistics)> + 'a {
        let conns = self.conns.iter();
        conns.map(|(key, conn)| (key, conn.statistics()))
    }

    /// Returns the memory of the rings that connections use and this guest owns.
    pub fn own_rings(&self) -> impl Iterator<Item = &'a P::Region> {
        self.links.rings_in_use().filter_map(|memory| match memory {
            Pages::Own(region) => Some(region),
            Pages::Peers(_) => None,
        })
    }

    /// Returns the number of pages of the rings that connections use and peers
    /// own.
    #[must_use]
    pub fn foreign_ring_pages(&self) -> usize {
        let bytes = |memory: &Pages<P>| match memory {
            Pages::Own(_) => 0,
            Pages::Peers(mapping) => mapping.len(),
        };
        self.links.rings_in_use().map(bytes).sum::<usize>() / PAGE
    }
}
