//! All TCP sockets of a stack: listeners, ports, memory, and the walk over them at every poll.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::task::Waker;

use smoltcp::iface::{Interface, SocketSet};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::Instant;
use smoltcp::wire::IpListenEndpoint;
use vmc::{ConnKey, Platform};

use super::backlog::{Backlog, Need};
use super::counters::Counters;
use super::linger::Linger;
use super::pool::Pool;
use super::record::Record;
use crate::channel::{Channel, Stage, TcpSocket};
use crate::error::BindError;
use crate::memory::OutOfMemory;
use crate::options::{Limits, TcpOptions};

/// First ephemeral port (RFC 6335 section 6).
const EPHEMERAL_FIRST: u16 = 49152;
/// Number of ephemeral ports.
const EPHEMERAL_COUNT: u16 = 16384;

/// When in a poll the sockets are observed: a socket that closed while segments came in was
/// reset by its peer, one that closed while timers ran had timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Segments have come in.
    Received,
    /// Timers have run and segments have been sent.
    Sent,
}

/// The TCP sockets of one stack.
pub(crate) struct Table {
    pub(crate) counters: Counters,
    /// Bytes at most in the buffers of all sockets.
    max_bytes: usize,
    pool: Pool,
    backlogs: Vec<Backlog>,
    linger: Linger,
    next_port: u16,
}

impl Table {
    pub(crate) fn new(limits: Limits, seed: u64) -> Self {
        Self {
            counters: Counters::default(),
            max_bytes: limits.tcp_bytes,
            pool: Pool::default(),
            backlogs: Vec::new(),
            linger: Linger::new(limits.lingering),
            // Any mixing of the seed will do: RFC 6056 asks for a start that differs.
            next_port: (seed ^ (seed >> 32)) as u16 % EPHEMERAL_COUNT,
        }
    }

    /// All sockets, lingering and listening ones included.
    pub(crate) fn records(&self) -> &[Rc<Record>] {
        self.pool.records()
    }

    /// Returns a connection whose socket is gone, for the channel to forget.
    pub(crate) fn take_gone(&mut self) -> Option<ConnKey> {
        self.pool.take_gone()
    }

    /// Makes a closed socket with the buffers that `options` ask for.
    pub(super) fn open(
        &mut self,
        sockets: &mut SocketSet<'static>,
        options: TcpOptions,
    ) -> Result<Rc<Record>, OutOfMemory> {
        let options = TcpOptions {
            buffers: options.buffers.clamped(),
            ..options
        };
        self.make_room(sockets, options.buffers.total())?;
        self.pool.add(sockets, options)
    }

    /// As [`Self::open`], listening on `port`.
    fn open_listening(
        &mut self,
        sockets: &mut SocketSet<'static>,
        options: TcpOptions,
        port: u16,
    ) -> Result<Rc<Record>, OutOfMemory> {
        let record = self.open(sockets, options)?;
        let socket = sockets.get_mut::<Socket<'_>>(record.handle);
        let endpoint = IpListenEndpoint { addr: None, port };
        // smoltcp refuses a socket that is in use, and port 0.
        if socket.listen(endpoint).is_err() {
            debug_assert!(false, "a fresh socket refused to listen on {port}");
            log::error!("net: a fresh socket refused to listen on {port}");
        }
        record.state.set(socket.state());
        Ok(record)
    }

    /// Takes a socket out, whatever its state.
    pub(super) fn remove(&mut self, sockets: &mut SocketSet<'static>, record: &Rc<Record>) {
        self.pool.remove(sockets, record);
    }

    /// Takes over a connection that its owner is done with: what was written is still delivered.
    pub(crate) fn release(&mut self, sockets: &mut SocketSet<'static>, record: &Rc<Record>) {
        self.linger.release(&mut self.pool, sockets, record);
    }

    /// Whether a connection has no owner any more.
    pub(crate) fn is_lingering(&self, record: &Rc<Record>) -> bool {
        self.linger.holds(record)
    }

    /// Makes `bytes` more fit the limit: TIME-WAIT gives way, oldest first, since it guards
    /// against segments of a connection that both sides have finished.
    fn make_room(
        &mut self,
        sockets: &mut SocketSet<'static>,
        bytes: usize,
    ) -> Result<(), OutOfMemory> {
        while self.pool.bytes() + bytes > self.max_bytes {
            if !self.linger.forget_time_wait(&mut self.pool, sockets) {
                return Err(OutOfMemory);
            }
        }
        Ok(())
    }

    /// Whether a listener or a connection has `port`.
    pub(super) fn port_in_use(&self, sockets: &SocketSet<'static>, port: u16) -> bool {
        self.backlogs.iter().any(|backlog| backlog.port == port)
            || self.records().iter().any(|record| {
                sockets
                    .get::<Socket<'_>>(record.handle)
                    .local_endpoint()
                    .is_some_and(|endpoint| endpoint.port == port)
            })
    }

    /// Returns a port for an outgoing connection, or `None` if all are taken.
    pub(super) fn ephemeral_port(&mut self, sockets: &SocketSet<'static>) -> Option<u16> {
        for _ in 0..EPHEMERAL_COUNT {
            let port = EPHEMERAL_FIRST + self.next_port;
            self.next_port = (self.next_port + 1) % EPHEMERAL_COUNT;
            if !self.port_in_use(sockets, port) {
                return Some(port);
            }
        }
        None
    }

    /// Listens on `port`; at most `limit` connections wait to be accepted.
    pub(super) fn listen(
        &mut self,
        sockets: &mut SocketSet<'static>,
        port: u16,
        limit: usize,
        options: TcpOptions,
    ) -> Result<(), BindError> {
        if port == 0 {
            return Err(BindError::InvalidPort);
        }
        if self.backlogs.iter().any(|backlog| backlog.port == port) {
            return Err(BindError::InUse);
        }
        let spare = self
            .open_listening(sockets, options, port)
            .map_err(|OutOfMemory| BindError::OutOfMemory)?;
        self.backlogs
            .push(Backlog::new(port, limit, options, spare));
        Ok(())
    }

    /// Takes the oldest complete connection of the listener on `port`. If there is none, the
    /// next one wakes `acceptor`.
    pub(super) fn accept(
        &mut self,
        sockets: &mut SocketSet<'static>,
        port: u16,
        acceptor: &Waker,
    ) -> Option<Rc<Record>> {
        let mut backlogs = self.backlogs.iter_mut();
        let backlog = backlogs.find(|backlog| backlog.port == port)?;
        let record = backlog.accept(sockets, acceptor)?;
        self.counters.accepted += 1;
        self.replenish(sockets);
        Some(record)
    }

    /// Stops listening on `port`. Returns the sockets of its backlog, for the caller to reset
    /// and release.
    pub(super) fn stop_listening(&mut self, port: u16) -> Vec<Rc<Record>> {
        let index = self
            .backlogs
            .iter()
            .position(|backlog| backlog.port == port);
        let backlog = index.map(|index| self.backlogs.swap_remove(index));
        backlog
            .into_iter()
            .flat_map(Backlog::into_records)
            .collect()
    }

    /// Gives every listener whose spare socket was taken a new one.
    pub(crate) fn replenish(&mut self, sockets: &mut SocketSet<'static>) {
        for index in 0..self.backlogs.len() {
            let backlog = &mut self.backlogs[index];
            let need = backlog.needs_spare(sockets);
            let (options, port) = (backlog.options, backlog.port);
            let spare = match need {
                Need::Nothing => continue,
                Need::Room => None,
                Need::Spare => self.open_listening(sockets, options, port).ok(),
            };
            if self.backlogs[index].set_spare(spare) {
                self.counters.backlog_full += 1;
                log::debug!("net: port {port} has no room for another connection");
            }
        }
    }

    /// Notes what became of every socket in the part of the poll that just ended.
    pub(crate) fn observe<P: Platform>(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        now: Instant,
        phase: Phase,
        channel: &mut Option<Channel<P>>,
    ) {
        for record in self.pool.records() {
            let socket = sockets.get_mut::<Socket<'_>>(record.handle);
            match phase {
                Phase::Received => {
                    let old = record.state.get();
                    record.observe_received(socket);
                    let state = record.state.get();
                    if let Some(channel) = channel
                        && state != old
                    {
                        if old == State::Listen {
                            channel.consider(record, &TcpSocket(socket), Stage::New);
                        }
                        if matches!(state, State::Closing | State::TimeWait) {
                            channel.note_ends(record);
                        }
                    }
                }
                Phase::Sent => {
                    record.observe_sent(socket, now, |address| iface.has_ip_addr(address));
                }
            }
        }
    }

    /// Moves on whatever waits for a state: listeners' queues and lingering connections.
    pub(crate) fn settle<P: Platform>(
        &mut self,
        sockets: &mut SocketSet<'static>,
        now: Instant,
        channel: &mut Option<Channel<P>>,
    ) {
        for backlog in &mut self.backlogs {
            for failed in backlog.settle(sockets) {
                self.linger.release(&mut self.pool, sockets, &failed);
            }
        }
        self.replenish(sockets);
        let counters = &mut self.counters;
        self.linger
            .settle(&mut self.pool, sockets, now, counters, channel);
    }

    /// Returns the time of the table's next timer.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stalled = self.records().iter().filter_map(|record| record.deadline());
        stalled.chain(self.linger.deadline()).min()
    }

    /// Returns the number of sockets, lingering ones included, and the bytes in their buffers.
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.records().len(), self.pool.bytes())
    }

    /// Returns the number of lingering connections.
    #[cfg(test)]
    pub(crate) fn lingering(&self) -> usize {
        self.linger.len()
    }
}
