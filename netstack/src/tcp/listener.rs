//! Listening: a backlog of connections in front of `accept`.
//!
//! smoltcp has one socket per listener, which becomes the connection. So a listener keeps one
//! spare socket in LISTEN and makes the next as soon as a request took it, until the backlog is
//! full; then there is none, and smoltcp answers with a reset.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp::{Socket, State};

use super::connection::Connection;
use super::record::Record;
use super::stream::TcpStream;
use super::table::Table;
use crate::error::BindError;
use crate::options::TcpOptions;
use crate::stack::{Counters, Shared};

/// The stack's side of a [`TcpListener`].
pub(crate) struct Listening {
    pub(super) port: u16,
    options: TcpOptions,
    backlog: usize,
    spare: Option<Rc<Record>>,
    /// Connections in their handshake and complete ones that wait for `accept`, oldest first.
    pending: VecDeque<Rc<Record>>,
    acceptor: Option<Waker>,
    /// Whether the lack of a spare has been counted.
    starved: bool,
}

/// A TCP port that accepts connections. Dropping it resets those that were not accepted yet.
pub struct TcpListener {
    shared: Shared,
    port: u16,
}

impl Shared {
    /// Listens on `port` of every address; at most `backlog` (at least 1) connections wait to be
    /// accepted, handshakes included.
    pub(crate) fn listen(
        &self,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<TcpListener, BindError> {
        if port == 0 {
            return Err(BindError::InvalidPort);
        }
        self.with(|stack| {
            if stack.tcp.listeners.iter().any(|other| other.port == port) {
                return Err(BindError::InUse);
            }
            let spare = stack
                .tcp
                .open_listening(&mut stack.sockets, options, port)
                .map_err(|_| BindError::OutOfMemory)?;
            stack.tcp.listeners.push(Listening {
                port,
                options,
                backlog: backlog.max(1),
                spare: Some(spare),
                pending: VecDeque::new(),
                acceptor: None,
                starved: false,
            });
            Ok(TcpListener {
                shared: self.clone(),
                port,
            })
        })
    }
}

impl TcpListener {
    /// The next connection, oldest first. Waits as long as none comes; can be cancelled without
    /// losing one.
    pub async fn accept(&mut self) -> TcpStream {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The port listened on.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<TcpStream> {
        let accepted = self.shared.with(|stack| {
            let sockets = &stack.sockets;
            let listening = stack
                .tcp
                .listeners
                .iter_mut()
                .find(|listening| listening.port == self.port)?;
            let record = listening.take_ready(sockets);
            match &record {
                None => listening.acceptor = Some(cx.waker().clone()),
                Some(_) => {
                    stack.counters.accepted += 1;
                    stack.tcp.replenish(&mut stack.sockets, &mut stack.counters);
                }
            }
            record
        });
        match accepted.and_then(|record| Connection::new(&self.shared, record)) {
            Some(connection) => Poll::Ready(TcpStream::new(connection)),
            None => Poll::Pending,
        }
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.shared.with(|stack| {
            let table = &mut stack.tcp;
            let Some(index) = table.listeners.iter().position(|l| l.port == self.port) else {
                return;
            };
            let listening = table.listeners.swap_remove(index);
            for record in listening.pending.into_iter().chain(listening.spare) {
                stack.reset(&record);
                stack.release(&record);
            }
            stack.kick();
        });
    }
}

impl Listening {
    /// The oldest connection whose handshake is complete and that has not failed since.
    fn take_ready(&mut self, sockets: &SocketSet<'static>) -> Option<Rc<Record>> {
        let index = self
            .pending
            .iter()
            .position(|record| is_ready(sockets, record))?;
        self.pending.remove(index)
    }
}

fn is_ready(sockets: &SocketSet<'static>, record: &Record) -> bool {
    let socket = sockets.get::<Socket<'_>>(record.handle);
    !matches!(
        socket.state(),
        State::Closed | State::Listen | State::SynReceived
    ) && socket.remote_endpoint().is_some()
}

impl Table {
    /// Gives every listener whose spare socket was taken a new one.
    pub(crate) fn replenish(&mut self, sockets: &mut SocketSet<'static>, counters: &mut Counters) {
        for index in 0..self.listeners.len() {
            let listening = &mut self.listeners[index];
            if let Some(spare) = listening
                .spare
                .take_if(|spare| sockets.get::<Socket<'_>>(spare.handle).state() != State::Listen)
            {
                listening.pending.push_back(spare);
            }
            if listening.spare.is_some() {
                continue;
            }
            let (options, port) = (listening.options, listening.port);
            let full = listening.pending.len() >= listening.backlog;
            let spare = if full {
                None
            } else {
                self.open_listening(sockets, options, port).ok()
            };
            let listening = &mut self.listeners[index];
            let starved = spare.is_none();
            if starved && !listening.starved {
                counters.backlog_full += 1;
                log::debug!("net: port {port} has no room for another connection");
            }
            listening.starved = starved;
            listening.spare = spare;
        }
    }

    /// Drops pending connections that failed and wakes acceptors of those that are complete.
    pub(super) fn settle_listeners(&mut self, sockets: &mut SocketSet<'static>) {
        for index in 0..self.listeners.len() {
            let listening = &mut self.listeners[index];
            let mut gone = VecDeque::new();
            listening.pending.retain(|record| {
                // A reset handshake puts smoltcp's socket back into LISTEN.
                let state = sockets.get::<Socket<'_>>(record.handle).state();
                let keep = !matches!(state, State::Closed | State::Listen);
                if !keep {
                    gone.push_back(record.clone());
                }
                keep
            });
            if listening
                .pending
                .iter()
                .any(|record| is_ready(sockets, record))
                && let Some(acceptor) = listening.acceptor.take()
            {
                acceptor.wake();
            }
            for record in gone {
                self.release(sockets, &record);
            }
        }
    }
}
