//! Connections that the application has let go of and TCP has not: they deliver what was
//! written, wait out TIME-WAIT, and are reset when that takes too long. Their number is bounded.

use alloc::rc::Rc;

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};

use super::record::Record;
use super::table::{Table, is_dead};
use crate::channel::{Channel, TcpSocket};
use crate::error::StreamError;
use crate::stack::Counters;

/// How long the reset of a lingering connection may wait for the device or for ARP.
const RESET_PATIENCE: Duration = Duration::from_secs(2);

/// A connection without an owner.
pub(crate) struct Lingering {
    record: Rc<Record>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Let go of since the last poll: the clock starts there.
    New,
    /// Finishing, until then at most.
    Closing(Instant),
    /// Reset; forgotten then at the latest.
    Resetting(Instant),
}

impl Lingering {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::New => None,
            Stage::Closing(at) | Stage::Resetting(at) => Some(at),
        }
    }
}

impl Table {
    /// Takes over a connection that its owner is done with: what was written is still delivered.
    pub(crate) fn release(&mut self, sockets: &mut SocketSet<'static>, record: &Rc<Record>) {
        let socket = sockets.get_mut::<Socket<'_>>(record.handle);
        // The channel closes the socket itself, once it is through with its ring.
        if record.channel.get().is_none() || socket.state() == State::Listen {
            socket.close();
        }
        if is_dead(socket) {
            let result = record.failure.get().map_or(Ok(()), Err);
            record.report_delivery(result);
            self.remove(sockets, record);
            return;
        }
        self.lingering.push_back(Lingering {
            record: record.clone(),
            stage: Stage::New,
        });
        while self.lingering.len() > self.limits.lingering.max(1) {
            if !self.forget_time_wait(sockets) {
                self.forget_oldest(sockets);
            }
        }
    }

    /// Whether a connection has no owner any more.
    pub(crate) fn is_lingering(&self, record: &Rc<Record>) -> bool {
        let mut lingering = self.lingering.iter();
        lingering.any(|lingering| Rc::ptr_eq(&lingering.record, record))
    }

    /// Gives up the oldest connection in TIME-WAIT; false when there is none.
    pub(super) fn forget_time_wait(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let oldest = self.lingering.iter().position(|lingering| {
            sockets.get::<Socket<'_>>(lingering.record.handle).state() == State::TimeWait
        });
        let Some(lingering) = oldest.and_then(|index| self.lingering.remove(index)) else {
            return false;
        };
        lingering.record.report_delivery(Ok(()));
        self.remove(sockets, &lingering.record);
        true
    }

    /// Gives up the connection that has lingered longest. Its peer learns by the reset that
    /// answers its next segment.
    fn forget_oldest(&mut self, sockets: &mut SocketSet<'static>) {
        if let Some(lingering) = self.lingering.pop_front() {
            lingering.record.report_delivery(Err(StreamError::Aborted));
            self.remove(sockets, &lingering.record);
        }
    }

    pub(super) fn settle_lingering(
        &mut self,
        sockets: &mut SocketSet<'static>,
        now: Instant,
        counters: &mut Counters,
        channel: &mut Option<Channel>,
    ) {
        let mut index = 0;
        while let Some(lingering) = self.lingering.get_mut(index) {
            let socket = sockets.get_mut::<Socket<'_>>(lingering.record.handle);
            if lingering.step(socket, now, counters, channel.as_mut()) {
                index += 1;
            } else if let Some(lingering) = self.lingering.remove(index) {
                self.remove(sockets, &lingering.record);
            }
        }
    }

    /// The number of lingering connections and its bound.
    #[cfg(test)]
    pub(crate) fn lingering(&self) -> (usize, crate::options::Limits) {
        (self.lingering.len(), self.limits)
    }
}

impl Lingering {
    /// Moves the connection on; false when it can be forgotten.
    fn step(
        &mut self,
        socket: &mut Socket<'_>,
        now: Instant,
        counters: &mut Counters,
        channel: Option<&mut Channel>,
    ) -> bool {
        let mut shared = self.record.channel.get().zip(channel);
        match &mut shared {
            Some((conn, channel)) => {
                channel.vmc.advance(*conn, &mut TcpSocket(socket));
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
