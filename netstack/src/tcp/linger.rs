//! Connections that the application has let go of and TCP has not: they deliver what was
//! written, wait out TIME-WAIT, and are reset if that takes too long. Their number is bounded.

use alloc::collections::VecDeque;
use alloc::rc::Rc;

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};
use vmc::Platform;

use super::counters::Counters;
use super::pool::{Pool, is_dead};
use super::record::Record;
use crate::channel::{Channel, TcpSocket};
use crate::error::StreamError;

/// How long the reset of a lingering connection may wait for the device or for ARP.
const RESET_PATIENCE: Duration = Duration::from_secs(2);

/// All lingering connections, the one that has lingered longest first.
pub(super) struct Linger {
    queue: VecDeque<Lingering>,
    /// Connections at most.
    limit: usize,
}

/// A connection without an owner.
struct Lingering {
    record: Rc<Record>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Let go of since the last poll, at which its clock starts.
    New,
    /// Finishes by itself; reset at this time at the latest.
    Closing(Instant),
    /// Has been reset; forgotten at this time at the latest.
    Resetting(Instant),
}

impl Lingering {
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::New => None,
            Stage::Closing(at) | Stage::Resetting(at) => Some(at),
        }
    }
}

impl Linger {
    /// Makes an empty queue for `limit` connections, but at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    /// Takes over a connection that its owner is done with: what was written is still delivered.
    pub(super) fn release(
        &mut self,
        pool: &mut Pool,
        sockets: &mut SocketSet<'static>,
        record: &Rc<Record>,
    ) {
        let socket = sockets.get_mut::<Socket<'_>>(record.handle);
        // The channel closes the socket itself, once it is through with its ring.
        if record.channel.get().is_none() || socket.state() == State::Listen {
            socket.close();
        }
        if is_dead(socket) {
            let result = record.failure.get().map_or(Ok(()), Err);
            record.report_delivery(result);
            pool.remove(sockets, record);
            return;
        }
        self.queue.push_back(Lingering {
            record: record.clone(),
            stage: Stage::New,
        });
        while self.queue.len() > self.limit {
            if !self.forget_time_wait(pool, sockets) {
                self.forget_oldest(pool, sockets);
            }
        }
    }

    /// Whether a connection has no owner any more.
    pub(super) fn holds(&self, record: &Rc<Record>) -> bool {
        let mut lingering = self.queue.iter();
        lingering.any(|lingering| Rc::ptr_eq(&lingering.record, record))
    }

    /// Gives up the oldest connection in TIME-WAIT; false if there is none.
    pub(super) fn forget_time_wait(
        &mut self,
        pool: &mut Pool,
        sockets: &mut SocketSet<'static>,
    ) -> bool {
        let oldest = self.queue.iter().position(|lingering| {
            sockets.get::<Socket<'_>>(lingering.record.handle).state() == State::TimeWait
        });
        let Some(lingering) = oldest.and_then(|index| self.queue.remove(index)) else {
            return false;
        };
        lingering.record.report_delivery(Ok(()));
        pool.remove(sockets, &lingering.record);
        true
    }

    /// Gives up the connection that has lingered longest. Its peer learns by the reset that
    /// answers its next segment.
    fn forget_oldest(&mut self, pool: &mut Pool, sockets: &mut SocketSet<'static>) {
        if let Some(lingering) = self.queue.pop_front() {
            lingering.record.report_delivery(Err(StreamError::Aborted));
            pool.remove(sockets, &lingering.record);
        }
    }

    /// Moves every connection on, and forgets those that are done.
    pub(super) fn settle<P: Platform>(
        &mut self,
        pool: &mut Pool,
        sockets: &mut SocketSet<'static>,
        now: Instant,
        counters: &mut Counters,
        channel: &mut Option<Channel<P>>,
    ) {
        let mut index = 0;
        while let Some(lingering) = self.queue.get_mut(index) {
            let socket = sockets.get_mut::<Socket<'_>>(lingering.record.handle);
            if lingering.step(socket, now, counters, channel.as_mut()) {
                index += 1;
            } else if let Some(lingering) = self.queue.remove(index) {
                pool.remove(sockets, &lingering.record);
            }
        }
    }

    /// Returns the time of the next timer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.queue.iter().filter_map(Lingering::deadline).min()
    }

    /// The number of lingering connections.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl Lingering {
    /// Moves the connection on; false once it can be forgotten.
    fn step<P: Platform>(
        &mut self,
        socket: &mut Socket<'_>,
        now: Instant,
        counters: &mut Counters,
        channel: Option<&mut Channel<P>>,
    ) -> bool {
        let mut shared = self.record.channel.get().zip(channel);
        match &mut shared {
            Some((conn, channel)) => {
                channel.vmc.service(*conn, &mut TcpSocket(socket));
            }
            // Nobody will read it, and a full buffer would keep the peer from finishing.
            None => while socket.can_recv() && socket.recv(|data| (data.len(), ())).is_ok() {},
        }

        match socket.state() {
            State::Closed => {
                let result = self.record.failure.get().map_or(Ok(()), Err);
                self.record.report_delivery(result);
            }
            // Our FIN is acknowledged, and with it everything before.
            State::FinWait2 | State::TimeWait => self.record.report_delivery(Ok(())),
            _ => {}
        }
        // TIME-WAIT is for segments that are late or lost (RFC 9293 section 3.6.1).
        let is_over = socket.state() == State::TimeWait
            && shared
                .as_ref()
                .is_some_and(|(_, channel)| channel.is_over(&self.record));
        if is_over || is_dead(socket) {
            return false;
        }
        match self.stage {
            // Aborted, or given up before the handshake was done: only the reset is owed.
            Stage::New if socket.state() == State::Closed => {
                self.stage = Stage::Resetting(now + RESET_PATIENCE);
            }
            Stage::New => {
                let patience = self.record.options.linger.into();
                self.stage = Stage::Closing(now + patience);
            }
            // TIME-WAIT has smoltcp's own timer.
            Stage::Closing(at) if now >= at && socket.state() != State::TimeWait => {
                self.record.fail(StreamError::TimedOut);
                self.record.report_delivery(Err(StreamError::TimedOut));
                match shared {
                    Some((conn, channel)) => channel.vmc.abort(conn, &mut TcpSocket(socket)),
                    None => socket.abort(),
                }
                self.record.state.set(State::Closed);
                counters.linger_resets += 1;
                self.stage = Stage::Resetting(now + RESET_PATIENCE);
            }
            Stage::Resetting(at) if now >= at => return false,
            Stage::Closing(_) | Stage::Resetting(_) => {}
        }
        true
    }
}
