//! The bounds of what the channel carries, so that an application waits as long as over TCP (design
//! rule R20; docs/architecture.md, "The bounds of a connection").
//!
//! What a guest has received lies in its TCP's buffers, where it is acknowledged, and may stay
//! there for as long as the guest lives; what it does not receive ends the connection after the user
//! timeout. So what stays in a ring goes back to TCP after a while, with the FIN if there is
//! one, and all of TCP's bounds hold for it. That takes an answer of the peer. Without it the peer
//! has received nothing, and the user timeout is counted here.

use core::time::Duration;

use smoltcp::iface::SocketSet;
use smoltcp::socket::tcp::{Socket, State};
use vmc::{Instant, Platform};

use super::{Channel, TcpSocket};
use crate::error::StreamError;
use crate::options::TcpOptions;
use crate::stack::Poller;
use crate::tcp::Record;

/// How often the connections are looked at while something is on its way.
const LOOK: Duration = Duration::from_secs(1);
/// If there was no look for this long, the guest itself stood still.
const STOOD_STILL: Duration = Duration::from_secs(5);

/// When the connections are looked at.
#[derive(Default)]
pub(super) struct Watch {
    /// The next look, while something is on its way.
    next: Option<Instant>,
    last: Instant,
    /// Whether something was written since the watch ended.
    is_written: bool,
}

impl Watch {
    /// Returns when to look next.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Whether to look now.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_written = core::mem::take(&mut self.is_written);
        match self.next {
            None if is_written => {
                self.next = Some(after(now, LOOK));
                self.last = now;
                false
            }
            None => false,
            Some(next) => now >= next,
        }
    }
}

/// What a connection has on the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    /// Bytes of the stream that the peer has taken, or that are in TCP.
    taken: u64,
    /// Whether there is more: bytes, a FIN, or a write that waits.
    has_more: bool,
    /// Whether the application has finished.
    is_last: bool,
}

/// Since when the peer has taken nothing, although there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untaken {
    taken: u64,
    since: Instant,
    /// Whether it was to go back to TCP.
    is_sent_back: bool,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    /// What is in its ring goes back to TCP.
    FallBack,
    /// It ends.
    GiveUp,
}

impl Untaken {
    /// Begins to wait, if there is something to wait for.
    fn start(load: Load, now: Instant) -> Option<Self> {
        load.has_more.then_some(Self {
            taken: load.taken,
            since: now,
            is_sent_back: false,
        })
    }

    /// Decides what is to be done with a connection that has `load` on the channel.
    fn judge(self, now: Instant, options: &TcpOptions, load: Load) -> Act {
        let waited = Duration::from_nanos(now.0.saturating_sub(self.since.0));
        // Early enough for the bound that is nearer. Nothing follows the last bytes that would go to
        // a ring again.
        let patience = match load.is_last {
            true => LOOK,
            false => options.user_timeout.min(options.linger) / 8,
        };
        if waited >= options.user_timeout {
            Act::GiveUp
        } else if waited >= patience && !self.is_sent_back {
            Act::FallBack
        } else {
            Act::Nothing
        }
    }
}

impl<P: Platform> Channel<P> {
    /// Takes note that something was written to a connection in the channel's care.
    pub(crate) fn note_written(&mut self) {
        self.watch.is_written = true;
    }

    /// Sees to it that what is written to rings is taken, or goes another way, or ends its connection.
    pub(super) fn watch(&mut self, sockets: &mut SocketSet<'static>, poller: &mut Poller) {
        let now = self.vmc.platform().now();
        if !self.watch.is_due(now) {
            return;
        }
        // The guest has yet to hear what its peers did meanwhile.
        let stood_still = now >= after(self.watch.last, STOOD_STILL);
        let mut is_waiting = false;
        for index in 0..self.connections.len() {
            let Some(care) = &self.connections[index] else {
                continue;
            };
            let (conn, record) = (care.id, care.record.clone());
            // The socket may be gone, and the channel not told yet.
            if record.channel.get() != Some(conn) {
                continue;
            }
            let socket = sockets.get_mut::<Socket<'_>>(record.handle);
            let load = load(&record, socket, self.vmc.unconsumed(conn));
            let former = record
                .untaken
                .get()
                .filter(|former| !stood_still && load.has_more && former.taken == load.taken);
            let mut untaken = former.or_else(|| Untaken::start(load, now));
            let act = untaken.map_or(Act::Nothing, |untaken| {
                untaken.judge(now, &record.options, load)
            });
            match act {
                Act::Nothing => {}
                Act::FallBack => {
                    self.vmc.send_by_tcp(conn);
                    if let Some(untaken) = &mut untaken {
                        untaken.is_sent_back = true;
                    }
                }
                Act::GiveUp => {
                    untaken = None;
                    record.fail(StreamError::TimedOut);
                    self.vmc.abort(conn, &mut TcpSocket(socket));
                    record.state.set(State::Closed);
                    record.reader.wake();
                    record.writer.wake();
                    poller.kick();
                }
            }
            record.untaken.set(untaken);
            is_waiting |= untaken.is_some();
        }
        self.watch.last = now;
        self.watch.next = is_waiting.then(|| after(now, LOOK));
    }
}

/// Returns what a connection has on the channel, of which the peer has not taken `untaken` bytes.
fn load(record: &Record, socket: &Socket<'_>, untaken: u64) -> Load {
    let is_open = matches!(socket.state(), State::Established | State::CloseWait);
    // TCP is closed once the peer has taken the FIN from the ring.
    let is_last = record.finishing.get() && is_open;
    // A write that TCP has no room for is TCP's business.
    let is_blocked = record.blocked.get() && is_open && socket.send_queue() == 0;
    Load {
        taken: record.sent.get().saturating_sub(untaken),
        has_more: untaken > 0 || is_last || is_blocked,
        is_last,
    }
}

fn after(from: Instant, time: Duration) -> Instant {
    Instant(from.0.saturating_add(time.as_nanos() as u64))
}
