//! The router: it holds the tables of links and connections, and lends out a
//! view of one of them for each call.

use alloc::vec::Vec;

use crate::cause::Cause;
use crate::config::Config;
use crate::error::Failure;
use crate::flow::{CallError, Conn, Conns, Fin, Flow};
use crate::guest::Guest;
use crate::keys::{ConnKey, LinkKey};
use crate::limits::UNPROVED;
use crate::link::{Links, State};
use crate::output::Output;
use crate::peers::{Challenge, Peers};
use crate::platform::{Instant, Platform, PortState};
use crate::report::Report;
use crate::statistics::Statistics;
use crate::stream::{FourTuple, Pair, Received, StreamEnd, Tcp};
use crate::suspend::Unsettled;

/// The channel of one guest.
///
/// Its user feeds it datagrams, events and the passing of time, does what it
/// asks for ([`Vmc::output`]), and reads and writes through it. It never waits.
pub struct Vmc<P: Platform> {
    pub(crate) guest: Guest<P>,
    pub(crate) peers: Peers,
    pub(crate) links: Links<P>,
    pub(crate) conns: Conns<P>,
    /// Links that ended in a suspend and are not settled.
    pub(crate) unsettled: Vec<Unsettled>,
}

impl<P: Platform> Vmc<P> {
    /// Returns a channel without peers.
    pub fn new(mut platform: P, config: Config) -> Self {
        let mut key = [0; 16];
        platform.random(&mut key);
        Self {
            guest: Guest::new(platform, config),
            peers: Peers::new(Challenge::new(key)),
            // A link may be replaced by one that is proved already.
            links: Links::new(config.max_peers + 2 * UNPROVED + 1),
            conns: Conns::new(),
            unsettled: Vec::new(),
        }
    }

    /// Returns the platform.
    pub const fn platform(&self) -> &P {
        &self.guest.platform
    }

    /// Returns the platform.
    pub const fn platform_mut(&mut self) -> &mut P {
        &mut self.guest.platform
    }

    // The application's side: connections.

    /// Tracks a connection, after `sent` bytes were put into its TCP and
    /// `received` were taken out; `is_finished`: TCP was closed behind them. Returns
    /// `None` if there is no room.
    ///
    /// To be called for every connection whose peer is
    /// [`Linked`](crate::PeerState::Linked), from before SYN-ACK is sent or when
    /// `connect` starts; and at [`Output::LinkUp`] for all others with this peer.
    #[inline(never)]
    pub fn track(
        &mut self,
        tuple: FourTuple,
        sent: u64,
        received: u64,
        is_finished: bool,
    ) -> Option<ConnKey> {
        let mut conn = Conn::new(tuple, sent, received);
        if is_finished {
            conn.sender.fin = Fin::Sent;
        }
        conn.link = self.peers.link(tuple.pair());
        self.conns.track(conn)
    }

    /// Writes the beginning of `bytes`, by the path that is the right one now,
    /// and returns how many. 0: it would block.
    ///
    /// # Errors
    /// [`StreamEnd`].
    pub fn write<T: Tcp>(
        &mut self,
        conn: ConnKey,
        tcp: &mut T,
        bytes: &[u8],
    ) -> Result<usize, StreamEnd> {
        self.call(conn, |flow| flow.write(tcp, bytes))
    }

    /// Reads into `into`, from the path that has the next byte.
    ///
    /// # Errors
    /// [`StreamEnd`].
    pub fn read<T: Tcp>(
        &mut self,
        conn: ConnKey,
        tcp: &mut T,
        into: &mut [u8],
    ) -> Result<Received, StreamEnd> {
        self.call(conn, |flow| flow.read(tcp, into))
    }

    /// The application writes no more. TCP below is closed at once, or, if bytes
    /// are on the way in a ring, when those have been consumed.
    pub fn finish<T: Tcp>(&mut self, conn: ConnKey, tcp: &mut T) {
        // The stream's end, if it has one, is for reads and writes to tell.
        let _ = self.call(conn, |flow| flow.finish(tcp));
    }

    /// Does what is to be done with a connection's TCP: residue goes into it, it
    /// is closed when the ring is done, and what nobody reads is thrown away. To
    /// be called after [`Output::Service`], and when TCP has made room or brought
    /// something.
    #[inline(never)]
    pub fn service<T: Tcp>(&mut self, conn: ConnKey, tcp: &mut T) {
        let result = self.with_flow(conn, |flow| flow.service(tcp));
        if let Some(Err(error)) = result {
            // The stream's end, if it has one, is for reads and writes to tell.
            self.conclude(conn, error);
        }
    }

    /// Resets a connection: what was written and not yet consumed is lost.
    pub fn abort<T: Tcp>(&mut self, conn: ConnKey, tcp: &mut T) {
        self.with_flow(conn, |flow| flow.drop_everything());
        tcp.abort();
    }

    /// Nobody reads a connection any more: what comes in is thrown away. What was
    /// written is still delivered.
    pub fn release(&mut self, conn: ConnKey) {
        self.with_flow(conn, |flow| {
            if !flow.conn.ended {
                flow.release();
            }
        });
    }

    /// The TCP socket of a connection is gone. Rings still in use are reset.
    pub fn forget(&mut self, conn: ConnKey) {
        self.with_flow(conn, |flow| flow.drop_everything());
        self.guest.resends.remove(conn);
        let pair = self.conns.get(conn).map(|conn| conn.tuple.pair());
        self.conns.forget(conn);
        if let Some(pair) = pair
            && self.peers.is_awaited(pair)
            && self.conns.of_pair(pair).is_empty()
        {
            self.peers.await_no_more(pair);
        }
    }

    /// Has what a connection has in rings go back to TCP: bytes that the peer has
    /// not consumed, and a FIN behind them. Takes the answer of the peer; later
    /// writes may go to a ring again. To be called when the reader takes nothing:
    /// TCP has buffers on the peer's side, and bounds.
    pub fn send_by_tcp(&mut self, conn: ConnKey) {
        self.with_flow(conn, |flow| flow.ask_for_fallback());
    }

    /// Returns the bytes written that are neither consumed by the peer nor in
    /// TCP.
    pub fn unconsumed(&self, conn: ConnKey) -> u64 {
        self.conns.get(conn).map_or(0, |conn| {
            conn.unconsumed(conn.link.and_then(|link| self.links.get(link)))
        })
    }

    /// Sends an Ethernet frame to a guest of this host; returns whether it went.
    /// If not, netfront is to take it.
    pub fn send_frame(&mut self, pair: Pair, frame: &[u8]) -> bool {
        let link = self.peers.link(pair);
        let link = link.and_then(|key| self.links.get_mut(key));
        link.is_some_and(|link| link.send_frame(frame))
    }

    // The views of one connection.

    /// Lends a view of a connection, unless its key is stale.
    pub(crate) fn with_flow<R>(
        &mut self,
        key: ConnKey,
        act: impl FnOnce(&mut Flow<'_, P>) -> R,
    ) -> Option<R> {
        let mut flow = self.conns.flow(key, &mut self.links, &mut self.guest)?;
        let result = act(&mut flow);
        if core::mem::take(&mut self.guest.wants_reclaim) {
            self.links.reclaim();
        }
        Some(result)
    }

    /// Does a call of the application on a connection that has not ended.
    #[inline]
    fn call<R>(
        &mut self,
        key: ConnKey,
        act: impl FnOnce(&mut Flow<'_, P>) -> Result<R, CallError>,
    ) -> Result<R, StreamEnd> {
        let result = self.with_flow(key, |flow| {
            if flow.conn.ended {
                Err(StreamEnd::Reset.into())
            } else {
                act(flow)
            }
        });
        match result {
            Some(Ok(done)) => Ok(done),
            Some(Err(error)) => Err(self.conclude(key, error)),
            None => Err(StreamEnd::Reset),
        }
    }

    /// A peer that was caught lying loses its link, and the connection with it.
    #[cold]
    #[inline(never)]
    fn conclude(&mut self, key: ConnKey, error: CallError) -> StreamEnd {
        let failure = match error {
            CallError::End(end) => return end,
            CallError::Failure(failure) => failure,
        };
        match failure {
            Failure::Peer(fault) => {
                let link = self.conns.get(key).and_then(|conn| conn.link);
                if let Some(link) = link {
                    self.close_link(link, fault.into());
                }
            }
            Failure::Bug(bug) => self.guest.note_bug(bug),
        }
        StreamEnd::Reset
    }

    // Events, and the passing of time.

    /// Returns the links whose event channels may fire, with those that wait for
    /// their proof.
    pub fn links(&self) -> impl Iterator<Item = (LinkKey, &P::Port)> {
        self.links.iter().map(|(key, link)| (key, &link.port))
    }

    /// The event channel of a link has fired. Does a bounded amount of work.
    pub fn event(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        if link.is_proving() {
            self.look_for_proof(key);
        } else {
            self.serve_event(key);
            self.end_if_due(key);
        }
    }

    /// Does what is due: timers, and work that was cut short.
    pub fn poll(&mut self) {
        let now = self.guest.platform.now();
        self.discovery().ask_again(now);
        for index in 0..self.links.end() {
            if let Some(key) = self.links.key_at(index) {
                self.poll_link(key, now);
            }
        }
        self.guest.pool.retry(&mut self.guest.platform, now);
        let waits = |conn| self.conns.has_residue(conn);
        for conn in self.guest.resends.take_due(now, waits) {
            self.with_flow(conn, |flow| flow.want_service());
        }
        self.retry_resume(now);
    }

    fn poll_link(&mut self, key: LinkKey, now: Instant) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        if let State::Proving { until } = link.state {
            if now >= until {
                self.discovery().give_up_proof(key);
            }
            return;
        }
        if link.has_more || link.must_catch_up() {
            self.serve_messages(key);
        }
        if self.guest.noticed {
            self.trim(key, now);
        }
        self.check_peer(key, now);
        self.end_if_due(key);
    }

    /// Finds a peer that is dead, or does not take its messages.
    fn check_peer(&mut self, key: LinkKey, now: Instant) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if link.liveness.stuck_at.is_some_and(|at| now >= at) {
            link.fault = Some(Cause::Stuck);
            return;
        }
        if now < link.liveness.check_at {
            return;
        }
        link.schedule_check(now);
        if !self.guest.noticed {
            for (_, conn) in self.conns.iter_mut() {
                if conn.link == Some(key) {
                    conn.check_traffic();
                }
            }
        }
        let cause = match self.guest.platform.port_state(&link.port) {
            PortState::Connected => return,
            PortState::Unbound => Cause::Gone,
            PortState::Stale => Cause::Renewed,
        };
        if cause == Cause::Gone {
            // It may have left in order, and its event is still to come.
            self.read_last(key);
        }
        if let Some(link) = self.links.get_mut(key) {
            link.fault.get_or_insert(match link.state {
                State::Leaving { cause, .. } => cause,
                State::Open | State::Proving { .. } => cause,
            });
        }
    }

    /// Returns when [`Vmc::poll`] is to be called next, at the latest; `None`:
    /// never.
    pub fn deadline(&self) -> Option<Instant> {
        let noticed = self.guest.noticed;
        let links = self.links.iter().map(|(_, link)| match link.state {
            State::Proving { until } => until,
            State::Leaving { until, .. } => until.min(link.liveness.check_at),
            State::Open => [link.liveness.stuck_at, link.trim_at.filter(|_| noticed)]
                .into_iter()
                .flatten()
                .fold(link.liveness.check_at, Instant::min),
        });
        let unsettled = self.unsettled.iter().filter(|_| !self.guest.frozen);
        links
            .chain(self.peers.deadline())
            .chain(self.guest.pool.deadline())
            .chain(self.guest.resends.deadline())
            .chain(unsettled.map(Unsettled::deadline))
            .min()
    }

    /// Whether work was cut short: [`Vmc::poll`] is to be called again when
    /// others have had their turn.
    pub fn has_work(&self) -> bool {
        let mut links = self.links.iter();
        links.any(|(_, link)| link.has_more || link.fault.is_some() || link.must_catch_up())
    }

    /// Sends the notifications that were put off. To be called before the guest
    /// blocks.
    pub fn flush(&mut self) {
        self.links.tell(&mut self.guest.news);
        for (_, link) in self.links.iter_mut() {
            if !link.is_proving() {
                link.flush(&self.guest.platform);
            }
        }
    }

    /// Returns the next thing to do. The number of outputs is bounded: one of
    /// each kind for a connection, and those that may be lost are dropped if
    /// there are too many.
    pub fn output(&mut self) -> Option<Output> {
        let output = self.guest.outputs.pop();
        if let Some(Output::LinkUp { pair }) = output
            && let Some(key) = self.peers.link(pair)
            && let Some(link) = self.links.get_mut(key)
        {
            link.announced = true;
        }
        output
    }

    // Counters.

    /// Returns what happened so far.
    pub fn statistics(&self) -> Statistics {
        let mut stats = self.guest.stats;
        stats.granted_pages = self.guest.pool.granted();
        stats.mapped_pages = self.guest.pool.mapped();
        stats.quarantined_pages = self.guest.pool.quarantined();
        stats.retiring = self.guest.pool.retiring();
        stats.unsettled = self.unsettled.len();
        for (_, link) in self.links.iter() {
            stats.notifications += link.counters.notifications;
            stats.suppressed += link.counters.suppressed;
        }
        stats
    }

    /// Lends a view of what there is, link by link and connection by connection.
    pub const fn report(&self) -> Report<'_, P> {
        Report {
            links: &self.links,
            conns: &self.conns,
        }
    }
}
