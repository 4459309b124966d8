//! A listener's backlog: the connections in front of `accept`.
//!
//! smoltcp has one socket per listener, which becomes the connection. So a listener keeps one
//! spare socket in LISTEN and gets the next as soon as a request has taken it, until the backlog
//! is full; without a spare, smoltcp answers requests with a reset.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::task::Waker;

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp::{Socket, State};

use super::record::Record;
use crate::options::TcpOptions;

/// The stack's side of a [`TcpListener`](super::TcpListener).
pub(super) struct Backlog {
    pub(super) port: u16,
    pub(super) options: TcpOptions,
    /// Connections, at most, that wait to be accepted, handshakes included.
    limit: usize,
    spare: Option<Rc<Record>>,
    /// Connections in their handshake and complete ones that wait for `accept`, oldest first.
    pending: VecDeque<Rc<Record>>,
    acceptor: Option<Waker>,
    /// Whether the lack of a spare has been counted.
    is_starved: bool,
}

impl Backlog {
    /// A backlog on `port` with its first spare socket.
    pub(super) fn new(port: u16, limit: usize, options: TcpOptions, spare: Rc<Record>) -> Self {
        Self {
            port,
            options,
            limit: limit.max(1),
            spare: Some(spare),
            pending: VecDeque::new(),
            acceptor: None,
            is_starved: false,
        }
    }

    /// Takes the oldest connection whose handshake is complete and that has not failed since.
    /// If there is none, the next one wakes `acceptor`.
    pub(super) fn accept(
        &mut self,
        sockets: &SocketSet<'static>,
        acceptor: &Waker,
    ) -> Option<Rc<Record>> {
        let ready = self
            .pending
            .iter()
            .position(|record| is_ready(sockets, record));
        if ready.is_none() {
            self.acceptor = Some(acceptor.clone());
        }
        self.pending.remove(ready?)
    }

    /// Moves a spare that a request has taken to the connections. Returns whether another spare is
    /// missing, and whether there is room for one.
    pub(super) fn needs_spare(&mut self, sockets: &SocketSet<'static>) -> Need {
        if let Some(spare) = self
            .spare
            .take_if(|spare| sockets.get::<Socket<'_>>(spare.handle).state() != State::Listen)
        {
            self.pending.push_back(spare);
        }
        if self.spare.is_some() {
            Need::Nothing
        } else if self.pending.len() >= self.limit {
            Need::Room
        } else {
            Need::Spare
        }
    }

    /// Takes a spare socket, or notes that there is no room for one. Returns whether the lack of
    /// room is new.
    pub(super) fn set_spare(&mut self, spare: Option<Rc<Record>>) -> bool {
        let was_starved = self.is_starved;
        self.is_starved = spare.is_none();
        self.spare = spare;
        self.is_starved && !was_starved
    }

    /// Wakes the acceptor if a connection is complete. Returns those that failed.
    pub(super) fn settle(&mut self, sockets: &SocketSet<'static>) -> Vec<Rc<Record>> {
        let mut failed = Vec::new();
        self.pending.retain(|record| {
            // A reset handshake puts smoltcp's socket back into LISTEN.
            let state = sockets.get::<Socket<'_>>(record.handle).state();
            let is_alive = !matches!(state, State::Closed | State::Listen);
            if !is_alive {
                failed.push(record.clone());
            }
            is_alive
        });
        if self.pending.iter().any(|record| is_ready(sockets, record))
            && let Some(acceptor) = self.acceptor.take()
        {
            acceptor.wake();
        }
        failed
    }

    /// Ends the backlog; returns all its sockets.
    pub(super) fn into_records(self) -> impl Iterator<Item = Rc<Record>> {
        self.pending.into_iter().chain(self.spare)
    }
}

/// What a backlog lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It has a spare socket.
    Nothing,
    /// It has none, and is full.
    Room,
    /// It has none, and room for one.
    Spare,
}

fn is_ready(sockets: &SocketSet<'static>, record: &Record) -> bool {
    let socket = sockets.get::<Socket<'_>>(record.handle);
    !matches!(
        socket.state(),
        State::Closed | State::Listen | State::SynReceived
    ) && socket.remote_endpoint().is_some()
}
