//! The System Call Analyzer (M4) in the guest: under a [`TcpStream`](crate::TcpStream) it chooses
//! between TCP and the shared memory of `vmc`, which it also drives.
//!
//! Read in this order: this file (what the stack keeps about the channel), `outputs.rs` (what the
//! channel wants done), `socket.rs` (a connection's reads and writes), `route.rs` and `frames.rs`
//! (frames that need not go through netfront), `untaken.rs` (how long bytes stay in a ring), `start.rs` and `drive.rs` (the task that
//! serves the peers' events), `part.rs` (a suspend), `options.rs`, `platform.rs` (grants and event
//! channels). All but the last is generic over `vmc`'s [`Platform`], which is [`Xen`] in a guest
//! and the simulator's fake hypervisor in host tests.

mod drive;
mod frames;
mod networks;
mod options;
mod outputs;
mod part;
pub(crate) mod platform;
mod route;
mod socket;
mod start;
mod status;
mod untaken;

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::net::IpAddr;
use core::task::Waker;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::IpCidr;
use vmc::{ConnKey, FourTuple, LinkKey, Pair, PeerState, Platform, Vmc};

use crate::tcp::Record;

use frames::Sent;

pub(crate) use networks::Networks;
pub use options::ChannelOptions;
pub(crate) use outputs::Turn;
pub use platform::Xen;
pub(crate) use route::Routed;
pub(crate) use socket::TcpSocket;
pub(crate) use start::{Started, start};
pub(crate) use untaken::Untaken;

/// Frames from peers that wait for the interface.
const INBOX: usize = 256;
/// Datagrams in each queue of the channel's UDP socket.
const DATAGRAMS: usize = 16;
/// Bytes in each queue of the channel's UDP socket.
const DATAGRAM_BYTES: usize = DATAGRAMS * vmc::wire::resume::LONGEST;

/// A connection in the channel's care.
struct Care {
    id: ConnKey,
    tuple: FourTuple,
    record: Rc<Record>,
}

/// How far a connection is when the channel takes it into its care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has sent no segment yet.
    New,
    /// It has sent segments, by netfront.
    UnderWay,
}

/// The channel, and what the stack keeps beside it.
pub(crate) struct Channel<P: Platform> {
    pub(crate) vmc: Vmc<P>,
    /// By [`ConnKey::index`].
    connections: Vec<Option<Care>>,
    inbox: VecDeque<Vec<u8>>,
    /// Where a frame is built before it is known which way it goes.
    scratch: Vec<u8>,
    off_netfront: frames::OffNetfront,
    /// The connection of the last segment that netfront brought.
    arrived: Cell<Option<FourTuple>>,
    /// The interface's addresses, with their networks.
    own: Vec<IpCidr>,
    networks: Networks,
    /// Whether a frame on a link waits for its notification.
    framed: bool,
    /// The UDP socket of HELLO and its answers.
    datagrams: SocketHandle,
    /// Links that have just rung; kept between turns for its memory.
    rung: Vec<LinkKey>,
    kicked: bool,
    /// When this guest last heard that it is to migrate.
    noticed: vmc::Instant,
    driver: Option<Waker>,
    watch: untaken::Watch,
}

impl<P: Platform> Channel<P> {
    /// Makes a channel without peers, with a UDP socket of its own.
    pub(crate) fn new(vmc: Vmc<P>, networks: Networks, sockets: &mut SocketSet<'static>) -> Self {
        let buffer = || {
            PacketBuffer::new(
                vec![PacketMetadata::EMPTY; DATAGRAMS],
                vec![0; DATAGRAM_BYTES],
            )
        };
        let mut socket = Socket::new(buffer(), buffer());
        if socket.bind(vmc::wire::PORT).is_err() {
            debug_assert!(false, "a fresh socket refused port {}", vmc::wire::PORT);
            log::error!("vmc: a fresh socket refused port {}", vmc::wire::PORT);
        }
        Self {
            vmc,
            connections: Vec::new(),
            inbox: VecDeque::new(),
            scratch: Vec::new(),
            off_netfront: frames::OffNetfront::new(),
            arrived: Cell::new(None),
            own: Vec::new(),
            networks,
            framed: false,
            datagrams: sockets.add(socket),
            rung: Vec::new(),
            kicked: false,
            noticed: vmc::Instant::default(),
            driver: None,
            watch: untaken::Watch::default(),
        }
    }

    /// Wakes the channel's task, because it has something to do.
    pub(crate) fn kick(&mut self) {
        self.kicked = true;
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Takes note of the interface's addresses.
    pub(crate) fn set_addresses(&mut self, own: &[IpCidr]) {
        if self.own == own {
            return;
        }
        self.own = own.to_vec();
        let addresses: Vec<IpAddr> = own.iter().map(|cidr| cidr.address().into()).collect();
        self.vmc.set_addresses(&addresses);
        self.kick();
    }

    /// Finds out whether there is a Causeway at the other end of `pair`, unless that is known. Part
    /// of every `connect`.
    pub(crate) fn greet(&mut self, pair: Pair) {
        if self.is_near(pair.remote) {
            self.vmc.greet(pair);
            self.kick();
        }
    }

    /// Whether a guest at `address` may be a peer.
    fn is_near(&self, address: IpAddr) -> bool {
        self.networks.contain(address, &self.own)
    }

    /// Puts a connection whose peer has a link into the channel's care. Other connections are left
    /// to TCP: their records count what the channel has to know when a link comes up
    /// ([`Output::LinkUp`](vmc::Output::LinkUp)).
    pub(crate) fn consider(
        &mut self,
        record: &Rc<Record>,
        socket: &TcpSocket<'_, '_>,
        stage: Stage,
    ) {
        if record.channel.get().is_some() {
            return;
        }
        let Some(tuple) = socket.four_tuple() else {
            return;
        };
        if self.vmc.peer(tuple.pair()) != PeerState::Linked {
            return;
        }
        let (sent, received) = (record.sent.get(), record.received.get());
        if let Some(conn) = self.vmc.track(tuple, sent, received, socket.is_closed()) {
            let index = conn.index();
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(Care {
                id: conn,
                tuple,
                record: record.clone(),
            });
            record.channel.set(Some(conn));
            if stage == Stage::New {
                self.off_netfront.insert(tuple, Sent::default());
            }
        }
    }

    /// Takes note of the segment that netfront has just brought, if it was one: its connection does
    /// not live on the link alone.
    pub(crate) fn note_arrival(&mut self) {
        if let Some(tuple) = self.arrived.take() {
            self.off_netfront.remove(&tuple);
        }
    }

    /// Takes note that no link takes anything between two addresses any more: from now on the
    /// segments of their connections take netfront, even if another link comes up.
    fn send_by_netfront(&mut self, pair: Pair) {
        self.off_netfront.retain(|tuple, _| tuple.pair() != pair);
    }

    /// Returns the number of segments that a connection has sent, or `None` unless all have taken
    /// a link.
    fn segments(&self, record: &Record) -> Option<u32> {
        let place = self.connections.get(record.channel.get()?.index())?;
        let sent = self.off_netfront.get(&place.as_ref()?.tuple)?;
        Some(sent.segments)
    }

    /// Takes note that a connection has sent its FIN and seen the peer's.
    pub(crate) fn note_ends(&self, record: &Record) {
        if record.farewell.get().is_none() {
            record.farewell.set(self.segments(record));
        }
    }

    /// Whether the acknowledgement of the peer's FIN has gone out by the link, as everything before
    /// it has. A link loses nothing while it is there, and nothing on it can be late.
    pub(crate) fn is_over(&self, record: &Record) -> bool {
        let then = record.farewell.get();
        then.is_some_and(|then| self.segments(record).is_some_and(|now| now != then))
    }

    /// Drops what has come by links and was not taken yet.
    #[cfg(test)]
    pub(crate) fn drop_frames(&mut self) {
        self.inbox.clear();
    }

    /// Takes note that the TCP socket of a connection is gone.
    fn forget(&mut self, conn: ConnKey) {
        self.vmc.forget(conn);
        if let Some(place) = self.connections.get_mut(conn.index())
            && let Some(care) = place.take_if(|care| care.id == conn)
        {
            self.off_netfront.remove(&care.tuple);
        }
        self.kick();
    }

    /// Returns the record of a connection in the channel's care.
    fn record(&self, conn: ConnKey) -> Option<Rc<Record>> {
        let care = self.connections.get(conn.index())?.as_ref()?;
        // The socket may be gone, and the channel not told yet.
        (care.record.channel.get() == Some(conn)).then(|| care.record.clone())
    }
}
