//! What is kept per TCP connection beside smoltcp's socket.

use core::cell::{Cell, RefCell};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{CongestionControl, Socket, State};
use smoltcp::time::Instant;
use smoltcp::wire::IpAddress;
use vmc::ConnKey;

use crate::channel::Untaken;
use crate::error::StreamError;
use crate::options::TcpOptions;

/// How long a peer may take to finish a handshake that it began.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a peer may acknowledge nothing of what waits before it is asked what it has, and how
/// often it is asked. smoltcp 0.14 by itself stops for good if it learns that the peer has no room
/// while a retransmission is due (`Socket::dispatch` sends nothing then, and sets no timer). A
/// segment that arrives late is enough for that: it says what was true before.
const ASK: Duration = Duration::from_secs(1);

/// The book-keeping of one TCP socket. Shared by the [`Table`](super::Table) and the owner of the
/// connection; in cells, because neither holds a borrow across a call.
pub(crate) struct Record {
    pub(crate) handle: SocketHandle,
    pub(crate) options: TcpOptions,
    /// The socket's state when it was last observed.
    pub(crate) state: Cell<State>,
    /// Why the connection ended, unless it ended with the FINs of both sides.
    pub(crate) failure: Cell<Option<StreamError>>,
    /// The task that waits until everything written has been delivered.
    pub(crate) closer: Waiter,
    /// The task that waits for the channel to have bytes.
    pub(crate) reader: Waiter,
    /// The task that waits for the channel to have room.
    pub(crate) writer: Waiter,
    /// The channel's key of the connection, if the connection is in its care.
    pub(crate) channel: Cell<Option<ConnKey>>,
    /// Bytes that the application wrote.
    pub(crate) sent: Cell<u64>,
    /// Bytes that the application took from TCP before the channel counted.
    pub(crate) received: Cell<u64>,
    /// Whether a writer waits for room on the channel.
    pub(crate) blocked: Cell<bool>,
    /// Whether the application writes no more to the channel.
    pub(crate) finishing: Cell<bool>,
    /// What is on the channel and the peer has not taken, if anything.
    pub(crate) untaken: Cell<Option<Untaken>>,
    /// Segments that had been sent when the FINs of both sides had been seen, if all took the link.
    pub(crate) farewell: Cell<Option<u32>>,
    /// Whether everything written has been delivered, once that is known.
    pub(crate) delivered: Cell<Option<Result<(), StreamError>>>,
    /// The address the connection is bound to, once it has a peer.
    local: Cell<Option<IpAddress>>,
    /// What waits for the peer, if anything.
    waiting: Cell<Option<Waiting>>,
}

/// What waits for the peer's acknowledgement.
#[derive(Clone, Copy)]
struct Waiting {
    /// The number of bytes, and the state.
    what: (usize, State),
    /// Since when neither has changed.
    since: Instant,
    /// Whether the peer is asked what it has.
    asks: bool,
}

impl Record {
    pub(crate) fn new(handle: SocketHandle, options: TcpOptions) -> Self {
        Self {
            handle,
            options,
            state: Cell::new(State::Closed),
            failure: Cell::new(None),
            closer: Waiter::default(),
            reader: Waiter::default(),
            writer: Waiter::default(),
            channel: Cell::new(None),
            sent: Cell::new(0),
            received: Cell::new(0),
            blocked: Cell::new(false),
            finishing: Cell::new(false),
            untaken: Cell::new(None),
            farewell: Cell::new(None),
            delivered: Cell::new(None),
            local: Cell::new(None),
            waiting: Cell::new(None),
        }
    }

    /// Applies the options to a fresh socket.
    pub(crate) fn configure(options: &TcpOptions, socket: &mut Socket<'_>) {
        socket.set_congestion_control(CongestionControl::Reno);
        socket.set_nagle_enabled(!options.nodelay);
        socket.set_ack_delay(options.delayed_ack.map(Into::into));
        socket.set_keep_alive(options.keep_alive.map(Into::into));
        socket.set_timeout(Some(HANDSHAKE.into()));
    }

    /// Returns why an operation on the connection fails; `Reset` if the cause was not seen.
    pub(crate) fn error(&self) -> StreamError {
        self.failure.get().unwrap_or(StreamError::Reset)
    }

    /// Follows the socket's state after segments were received.
    pub(crate) fn observe_received(&self, socket: &mut Socket<'_>) {
        let state = socket.state();
        let old = self.state.replace(state);
        if let Some(endpoint) = socket.local_endpoint() {
            self.local.set(Some(endpoint.addr));
        }
        // Only this side turns a listening socket into a closed one.
        if state == State::Closed && !matches!(old, State::Closed | State::Listen | State::LastAck)
        {
            self.fail(StreamError::Reset);
        }
        if is_early(old) && !is_early(state) {
            // smoltcp's timeout counts idle time as well, so after the handshake it is of use only
            // if keep-alive probes make an idle peer answer. Otherwise `waiting` decides.
            let timeout = self.options.keep_alive.map(|_| self.options.user_timeout);
            socket.set_timeout(timeout.map(Into::into));
        }
    }

    /// Follows the socket's state after segments were sent and timers ran at `now`.
    pub(crate) fn observe_sent(
        &self,
        socket: &mut Socket<'_>,
        now: Instant,
        has_address: impl Fn(IpAddress) -> bool,
    ) {
        let state = socket.state();
        let old = self.state.replace(state);
        // The end of TIME-WAIT by its timer is not a failure.
        if state == State::Closed && !matches!(old, State::Closed | State::TimeWait) {
            let lost = self.local.get().is_some_and(|local| !has_address(local));
            self.fail(if lost {
                StreamError::AddressLost
            } else {
                StreamError::TimedOut
            });
        }
        self.watch_progress(socket, state, now);
    }

    /// Ends the connection if data or a FIN stays unacknowledged for the user timeout; before that
    /// asks the peer what it has.
    fn watch_progress(&self, socket: &mut Socket<'_>, state: State, now: Instant) {
        let what = (socket.send_queue(), state);
        let waits = match state {
            State::Established | State::CloseWait => what.0 > 0,
            State::FinWait1 | State::Closing | State::LastAck => true,
            _ => false,
        };
        let before = self.waiting.get();
        let since = match before {
            Some(before) if before.what == what => before.since,
            _ => now,
        };
        let asks = now >= since + ASK.into();
        let waiting = waits.then_some(Waiting { what, since, asks });
        self.waiting.set(waiting);
        let asks = |waiting: Option<Waiting>| waiting.is_some_and(|waiting| waiting.asks);
        if asks(waiting) != asks(before) {
            // A probe makes the peer tell its window. smoltcp sends none while another of its
            // timers runs.
            let usual = self.options.keep_alive;
            let interval = if asks(waiting) { Some(ASK) } else { usual };
            socket.set_keep_alive(interval.map(Into::into));
        }
        if waits && now >= since + self.options.user_timeout.into() {
            self.fail(StreamError::TimedOut);
            self.waiting.set(None);
            socket.abort();
            self.state.set(State::Closed);
        }
    }

    /// Returns when [`Self::observe_sent`] has to look again, if at all.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let Waiting { since, asks, .. } = self.waiting.get()?;
        let user_timeout = self.options.user_timeout;
        let wait = if asks {
            user_timeout
        } else {
            user_timeout.min(ASK)
        };
        Some(since + wait.into())
    }

    /// Takes note of why the connection ended; the first cause stays.
    pub(crate) fn fail(&self, error: StreamError) {
        if self.failure.get().is_none() {
            self.failure.set(Some(error));
        }
    }

    /// Takes note of whether everything was delivered, and wakes the closer; the first result stays.
    pub(crate) fn report_delivery(&self, result: Result<(), StreamError>) {
        if self.delivered.get().is_none() {
            self.delivered.set(Some(result));
        }
        self.closer.wake();
    }

    /// Completes once the peer has acknowledged everything written and the FIN, or never will.
    pub(super) fn poll_delivered(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        match self.delivered.get() {
            Some(result) => Poll::Ready(result),
            None => {
                self.closer.register(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Counts `len` bytes that the application read from TCP.
    pub(crate) fn count_received(&self, len: usize) {
        self.received.set(self.received.get() + len as u64);
    }

    /// Counts `len` bytes that the application wrote.
    pub(crate) fn count_sent(&self, len: usize) {
        self.sent.set(self.sent.get() + len as u64);
    }
}

/// The task that waits for something, if any.
#[derive(Default)]
pub(crate) struct Waiter(RefCell<Option<Waker>>);

impl Waiter {
    /// Has `waker` woken next, in place of an earlier one.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut waiting = self.0.borrow_mut();
        if !waiting
            .as_ref()
            .is_some_and(|former| former.will_wake(waker))
        {
            *waiting = Some(waker.clone());
        }
    }

    /// Wakes the task, if one waits.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// Whether the handshake is not complete.
fn is_early(state: State) -> bool {
    matches!(state, State::Listen | State::SynReceived | State::SynSent)
}
