//! All connections, by key and by name.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use super::conn::{Conn, Fin, Path};
use super::view::Flow;
use crate::guest::Guest;
use crate::keys::{ConnKey, LinkKey, Slab};
use crate::limits::CONNECTIONS;
use crate::link::{Link, Links};
use crate::platform::Platform;
use crate::stream::{FourTuple, Pair};
use crate::wire::resume::{Entry, Epoch};

/// The connections that the channel tracks.
pub(crate) struct Conns<P: Platform> {
    slab: Slab<ConnKey, Conn<P>>,
    /// For SWITCH and RESUME.
    tuples: BTreeMap<FourTuple, ConnKey>,
}

impl<P: Platform> Deref for Conns<P> {
    type Target = Slab<ConnKey, Conn<P>>;

    fn deref(&self) -> &Self::Target {
        &self.slab
    }
}

impl<P: Platform> DerefMut for Conns<P> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.slab
    }
}

impl<P: Platform> Conns<P> {
    pub(crate) const fn new() -> Self {
        Self {
            slab: Slab::new(CONNECTIONS),
            tuples: BTreeMap::new(),
        }
    }

    /// Tracks a connection; returns `None` if there is no room.
    pub(crate) fn track(&mut self, conn: Conn<P>) -> Option<ConnKey> {
        let tuple = conn.tuple;
        let key = self.slab.insert(conn).ok()?;
        // A predecessor of the same name has lost its socket.
        self.tuples.insert(tuple, key);
        Some(key)
    }

    /// Forgets a connection.
    pub(crate) fn forget(&mut self, key: ConnKey) {
        if let Some(gone) = self.slab.remove(key)
            && self.tuples.get(&gone.tuple) == Some(&key)
        {
            self.tuples.remove(&gone.tuple);
        }
    }

    /// Returns the connection of this name.
    pub(crate) fn find(&self, tuple: &FourTuple) -> Option<ConnKey> {
        self.tuples.get(tuple).copied()
    }

    /// Returns the view of a connection over its link.
    pub(crate) fn flow<'a>(
        &'a mut self,
        key: ConnKey,
        links: &'a mut Links<P>,
        guest: &'a mut Guest<P>,
    ) -> Option<Flow<'a, P>> {
        let conn = self.slab.get_mut(key)?;
        let link = conn.link.and_then(|link| links.get_mut(link));
        Some(Flow {
            key,
            conn,
            link,
            guest,
        })
    }

    /// Returns the view of a connection over a link that is not in the table any
    /// more.
    pub(crate) fn flow_over<'a>(
        &'a mut self,
        key: ConnKey,
        link: &'a mut Link<P>,
        guest: &'a mut Guest<P>,
    ) -> Option<Flow<'a, P>> {
        let conn = self.slab.get_mut(key)?;
        Some(Flow {
            key,
            conn,
            link: Some(link),
            guest,
        })
    }

    /// A pair of addresses has a link: the connections between them may use it.
    pub(crate) fn attach(&mut self, guest: &mut Guest<P>, link: LinkKey, pair: Pair) {
        for (key, conn) in self.slab.iter_mut() {
            if conn.tuple.pair() == pair && !conn.ended {
                conn.link = Some(link);
                conn.off_link = false;
                let mut flow = Flow {
                    key,
                    conn,
                    link: None,
                    guest,
                };
                flow.wake_writer();
            }
        }
    }

    /// Returns the connections of a link between two addresses.
    pub(crate) fn between(&self, link: LinkKey, pair: Pair) -> Vec<ConnKey> {
        let conns = self.slab.iter();
        let of_pair = conns.filter(|(_, conn)| {
            !conn.ended && conn.link == Some(link) && conn.tuple.pair() == pair
        });
        of_pair.map(|(key, _)| key).collect()
    }

    /// Returns the addresses of the connections of a link.
    pub(crate) fn pairs_on(&self, link: LinkKey) -> Vec<Pair> {
        let conns = self.slab.iter();
        let of_link = conns.filter(|(_, conn)| !conn.ended && conn.link == Some(link));
        let mut pairs: Vec<Pair> = of_link.map(|(_, conn)| conn.tuple.pair()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Returns the connections that have rings on a link, which is not in the
    /// table any more.
    pub(crate) fn users_of(&self, key: LinkKey, link: &Link<P>) -> Vec<ConnKey> {
        let mut users = link.users();
        users.retain(|conn| {
            let conn = self.slab.get(*conn);
            conn.is_some_and(|conn| conn.link == Some(key) && conn.uses_rings())
        });
        users
    }

    /// Whether the residue of a connection waits for room in TCP.
    pub(crate) fn has_residue(&self, key: ConnKey) -> bool {
        let conn = self.slab.get(key);
        conn.is_some_and(|conn| !conn.ended && conn.sender.path == Path::Residue)
    }

    /// Whether a sender of a link still has a ring in this guest's pages.
    pub(crate) fn any_sender_in_own_pages(&self, key: LinkKey, link: &Link<P>) -> bool {
        let is_own = |number: &_| {
            let ring = link.own_ring(*number);
            ring.is_some_and(|ring| ring.memory.is_own())
        };
        let mut conns = self.slab.iter();
        conns.any(|(_, conn)| {
            let sender = &conn.sender;
            conn.link == Some(key) && sender.fin == Fin::Open && sender.rings.iter().any(is_own)
        })
    }

    /// Returns the connections between two addresses that a suspend left unsettled.
    pub(crate) fn unsettled(&self, pair: Pair, epoch: &Epoch) -> Vec<ConnKey> {
        let conns = self.slab.iter();
        let waits = conns.filter(|(_, conn)| {
            !conn.ended && conn.is_unsettled(epoch) && conn.tuple.pair() == pair
        });
        waits.map(|(key, _)| key).collect()
    }

    /// Returns the connections between two addresses.
    pub(crate) fn of_pair(&self, pair: Pair) -> Vec<ConnKey> {
        let conns = self.slab.iter();
        let of_pair = conns.filter(|(_, conn)| !conn.ended && conn.tuple.pair() == pair);
        of_pair.map(|(key, _)| key).collect()
    }

    /// Returns the connections of a link that have moved bytes by ring.
    pub(crate) fn shared_on(&self, link: LinkKey) -> Vec<ConnKey> {
        let conns = self.slab.iter();
        let shared =
            conns.filter(|(_, conn)| !conn.ended && conn.is_shared && conn.link == Some(link));
        shared.map(|(key, _)| key).collect()
    }

    /// Returns what RESUME says of a connection.
    pub(crate) fn entry(&self, key: ConnKey) -> Option<Entry> {
        let conn = self.slab.get(key).filter(|conn| !conn.ended)?;
        Some(Entry {
            tuple: conn.tuple,
            offset: conn.recver.confirmed,
            heard: conn.sender.heard,
        })
    }
}
