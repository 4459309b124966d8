//! All TCP sockets of a stack: memory, ports, and the walk over them at every poll.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;

use smoltcp::iface::{Interface, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::IpListenEndpoint;
use vmc::ConnId;

use super::linger::Lingering;
use super::listener::Listening;
use super::record::Record;
use crate::channel::{Channel, Stage, TcpSocket};
use crate::options::{Limits, TcpOptions};
use crate::stack::Counters;

/// First ephemeral port (RFC 6335 section 6).
const EPHEMERAL_FIRST: u16 = 49152;
/// Number of ephemeral ports.
const EPHEMERAL_COUNT: u16 = 16384;

/// The buffers of another connection do not fit the limits or the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

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
    pub(super) limits: Limits,
    pub(super) records: Vec<Rc<Record>>,
    pub(super) listeners: Vec<Listening>,
    pub(super) lingering: VecDeque<Lingering>,
    /// Bytes in the buffers of `records`.
    bytes: usize,
    next_port: u16,
    /// Connections whose sockets are gone and of which the channel has not been told.
    gone: Vec<ConnId>,
}

impl Table {
    pub(crate) fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            records: Vec::new(),
            listeners: Vec::new(),
            lingering: VecDeque::new(),
            bytes: 0,
            // Any mixing of the seed will do: RFC 6056 asks for a start that differs.
            next_port: (seed ^ (seed >> 32)) as u16 % EPHEMERAL_COUNT,
            gone: Vec::new(),
        }
    }

    /// All connections and sockets.
    pub(crate) fn records(&self) -> &[Rc<Record>] {
        &self.records
    }

    /// The next connection whose socket is gone, for the channel to forget.
    pub(crate) fn take_gone(&mut self) -> Option<ConnId> {
        self.gone.pop()
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
        let bytes = options.buffers.total();
        self.make_room(sockets, bytes)?;
        let receive = zeroed(options.buffers.receive)?;
        let transmit = zeroed(options.buffers.transmit)?;
        let mut socket = Socket::new(SocketBuffer::new(receive), SocketBuffer::new(transmit));
        Record::configure(&options, &mut socket);
        let record = Rc::new(Record::new(sockets.add(socket), options));
        self.records.push(record.clone());
        self.bytes += bytes;
        Ok(record)
    }

    /// As [`Self::open`], listening on `port`.
    pub(super) fn open_listening(
        &mut self,
        sockets: &mut SocketSet<'static>,
        options: TcpOptions,
        port: u16,
    ) -> Result<Rc<Record>, OutOfMemory> {
        let record = self.open(sockets, options)?;
        let socket = sockets.get_mut::<Socket<'_>>(record.handle);
        let endpoint = IpListenEndpoint { addr: None, port };
        // The socket is fresh and the port not 0: smoltcp knows no other reason to refuse.
        if socket.listen(endpoint).is_err() {
            log::error!("net: a fresh socket refused to listen on {port}");
        }
        record.state.set(socket.state());
        Ok(record)
    }

    /// Takes a socket out, whatever its state.
    pub(super) fn remove(&mut self, sockets: &mut SocketSet<'static>, record: &Rc<Record>) {
        if let Some(index) = self.records.iter().position(|r| Rc::ptr_eq(r, record)) {
            self.records.swap_remove(index);
            self.bytes -= record.options.buffers.total();
            self.gone.extend(record.channel.take());
            sockets.remove(record.handle);
        }
    }

    /// Sees to it that `bytes` more fit the limit: TIME-WAIT gives way, oldest first, since it
    /// guards against segments of a connection that both sides have finished.
    fn make_room(
        &mut self,
        sockets: &mut SocketSet<'static>,
        bytes: usize,
    ) -> Result<(), OutOfMemory> {
        while self.bytes + bytes > self.limits.tcp_bytes {
            if !self.forget_time_wait(sockets) {
                return Err(OutOfMemory);
            }
        }
        Ok(())
    }

    /// Whether a listener or a connection has `port`.
    pub(super) fn port_in_use(&self, sockets: &SocketSet<'static>, port: u16) -> bool {
        self.listeners.iter().any(|listener| listener.port == port)
            || self.records.iter().any(|record| {
                sockets
                    .get::<Socket<'_>>(record.handle)
                    .local_endpoint()
                    .is_some_and(|endpoint| endpoint.port == port)
            })
    }

    /// A port for an outgoing connection, or `None` when all are taken.
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

    /// Notes what became of every socket in the part of the poll that just ended.
    pub(crate) fn observe(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        now: Instant,
        phase: Phase,
        channel: &mut Option<Channel>,
    ) {
        for record in &self.records {
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
    pub(crate) fn settle(
        &mut self,
        sockets: &mut SocketSet<'static>,
        now: Instant,
        counters: &mut Counters,
        channel: &mut Option<Channel>,
    ) {
        self.settle_listeners(sockets);
        self.replenish(sockets, counters);
        self.settle_lingering(sockets, now, counters, channel);
    }

    /// The time of the table's next timer.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stalled = self.records.iter().filter_map(|record| record.deadline());
        let lingering = self.lingering.iter().filter_map(Lingering::deadline);
        stalled.chain(lingering).min()
    }

    /// Sockets there are, lingering ones included, and the bytes in their buffers.
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.records.len(), self.bytes)
    }
}

/// Whether smoltcp will neither send nor receive on the socket any more.
pub(super) fn is_dead(socket: &Socket<'_>) -> bool {
    // A closed socket with a peer still owes it a reset.
    socket.state() == State::Closed && socket.remote_endpoint().is_none()
}

/// `len` zero bytes, or an error instead of a panic where the heap has no such piece.
fn zeroed(len: usize) -> Result<Vec<u8>, OutOfMemory> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| OutOfMemory)?;
    bytes.resize(len, 0);
    Ok(bytes)
}
