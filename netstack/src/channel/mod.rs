//! The System Call Analyzer (M4) in the guest: under a [`TcpStream`](crate::TcpStream) it chooses
//! between TCP and the shared memory of `vmc`, and drives the latter.
//!
//! Read in this order: this file (what the stack keeps about the channel), `outputs.rs` (what the
//! channel wants done), `socket.rs` (a connection's reads and writes), `route.rs` and `frames.rs`
//! (frames that need not go through netfront), `start.rs` and `drive.rs` (the task that serves the peers' events),
//! `part.rs` (a suspend), `options.rs`, `platform.rs` (grants and event channels). Host tests have
//! the simulator's platform in place of Xen's, and drive the channel themselves.

#[cfg(not(test))]
mod drive;
mod frames;
mod options;
mod outputs;
#[cfg(not(test))]
mod part;
#[cfg(not(test))]
mod platform;
mod route;
mod socket;
#[cfg(not(test))]
mod start;
mod status;

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::Waker;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use vmc::{ConnId, LinkId, PeerState, Vmc};

use crate::tcp::Record;

pub use options::ChannelOptions;
#[cfg(not(test))]
pub(crate) use platform::Xen as World;
pub(crate) use route::Routed;
#[cfg(test)]
pub(crate) use sim::xen::Dom as World;
pub(crate) use socket::TcpSocket;
#[cfg(not(test))]
pub(crate) use start::start;

/// Frames from peers that wait for the interface.
const INBOX: usize = 256;
/// Datagrams in each queue of the channel's UDP socket.
const DATAGRAMS: usize = 16;
/// Bytes in each queue of the channel's UDP socket.
const DATAGRAM_BYTES: usize = DATAGRAMS * vmc::DATAGRAM;

/// The channel, and what the stack keeps beside it.
pub(crate) struct Channel {
    pub(crate) vmc: Vmc<World>,
    /// By [`ConnId::index`].
    connections: Vec<Option<(ConnId, Rc<Record>)>>,
    inbox: VecDeque<Vec<u8>>,
    /// Where a frame is built before it is known which way it goes.
    scratch: Vec<u8>,
    handshakes: frames::Handshakes,
    /// A frame waits on a link for its notification.
    framed: bool,
    /// Where HELLO and its answers come and go.
    datagrams: SocketHandle,
    /// Links that have just rung; kept for its memory.
    rung: Vec<LinkId>,
    kicked: bool,
    /// When this guest last heard that it is to migrate.
    noticed: vmc::Instant,
    driver: Option<Waker>,
}

impl Channel {
    /// A channel without peers, with a UDP socket of its own.
    pub(crate) fn new(vmc: Vmc<World>, sockets: &mut SocketSet<'static>) -> Self {
        let buffer = || {
            PacketBuffer::new(
                vec![PacketMetadata::EMPTY; DATAGRAMS],
                vec![0; DATAGRAM_BYTES],
            )
        };
        let mut socket = Socket::new(buffer(), buffer());
        if socket.bind(vmc::PORT).is_err() {
            log::error!("vmc: a fresh socket refused port {}", vmc::PORT);
        }
        Self {
            vmc,
            connections: Vec::new(),
            inbox: VecDeque::new(),
            scratch: Vec::new(),
            handshakes: frames::Handshakes::new(),
            framed: false,
            datagrams: sockets.add(socket),
            rung: Vec::new(),
            kicked: false,
            noticed: vmc::Instant::default(),
            driver: None,
        }
    }

    /// Says that the channel's task has something to do.
    pub(crate) fn kick(&mut self) {
        self.kicked = true;
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Finds out whether a Causeway lives at `address`, where that is not known. Part of every
    /// `connect`.
    pub(crate) fn greet(&mut self, address: IpAddr) {
        self.vmc.greet(address);
        self.kick();
    }

    /// Puts a connection whose peer has a link into the channel's care. Others stay TCP's alone:
    /// their records count what the channel has to know when a link comes up
    /// ([`Output::LinkUp`](vmc::Output::LinkUp)).
    pub(crate) fn consider(&mut self, record: &Rc<Record>, socket: &TcpSocket<'_, '_>) {
        if record.channel.get().is_some() {
            return;
        }
        let Some(tuple) = socket.four_tuple() else {
            return;
        };
        if self.vmc.peer(tuple.remote.ip()) != PeerState::Linked {
            return;
        }
        let (sent, received) = (record.sent.get(), record.received.get());
        if let Some(conn) = self.vmc.track(tuple, sent, received) {
            let index = conn.index();
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some((conn, record.clone()));
            record.channel.set(Some(conn));
        }
    }

    /// The TCP socket of a connection is gone.
    fn forget(&mut self, conn: ConnId) {
        self.vmc.forget(conn);
        if let Some(place) = self.connections.get_mut(conn.index())
            && place.as_ref().is_some_and(|(id, _)| *id == conn)
        {
            place.take();
        }
        self.kick();
    }

    /// The record of a connection in the channel's care.
    fn record(&self, conn: ConnId) -> Option<Rc<Record>> {
        let (_, record) = self.connections.get(conn.index())?.as_ref()?;
        // The socket may be gone, and the channel not told yet.
        (record.channel.get() == Some(conn)).then(|| record.clone())
    }
}
