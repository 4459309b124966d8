//! What the user of a socket can choose: buffer sizes, timeouts, memory.

use core::time::Duration;

/// Buffer sizes of one TCP connection, in bytes. Both buffers are allocated when the connection (or
/// the listener's next spare socket) is made. The receive size is also the largest window offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Receive buffer.
    pub receive: usize,
    /// Transmit buffer.
    pub transmit: usize,
}

impl Buffers {
    /// The smallest size of either buffer: two full segments, so that no sender waits for a larger
    /// window while its acknowledgement is delayed.
    pub const MIN: usize = 2 * 1460;
    /// The largest size of either buffer.
    pub const MAX: usize = 16 << 20;

    /// Returns buffers of `size` bytes for both directions.
    pub const fn both(size: usize) -> Self {
        Self {
            receive: size,
            transmit: size,
        }
    }

    pub(crate) fn clamped(self) -> Self {
        Self {
            receive: self.receive.clamp(Self::MIN, Self::MAX),
            transmit: self.transmit.clamp(Self::MIN, Self::MAX),
        }
    }

    pub(crate) fn total(self) -> usize {
        self.receive + self.transmit
    }
}

impl Default for Buffers {
    /// The receive buffer is the largest that works without window scaling, because rounding moves
    /// the edge of a scaled window back and forth. The transmit buffer is 64 KiB, about one TSO
    /// segment.
    fn default() -> Self {
        Self {
            receive: u16::MAX as usize,
            transmit: 64 * 1024,
        }
    }
}

/// Options of a TCP connection. A listener's options apply to every connection it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Buffer sizes.
    pub buffers: Buffers,
    /// Whether to send small segments at once (Nagle's algorithm off). True by default, because
    /// mail is a dialogue.
    pub nodelay: bool,
    /// How long an acknowledgement may wait for data to carry it. With `None`, the default, one is
    /// sent for each batch of received segments.
    pub delayed_ack: Option<Duration>,
    /// How often to probe an idle peer; never with `None`, the default.
    pub keep_alive: Option<Duration>,
    /// How long data may stay unacknowledged (and keep-alive probes unanswered) before the
    /// connection fails with [`StreamError::TimedOut`](crate::StreamError::TimedOut); the User
    /// Timeout of RFC 9293 section 3.9.1.1.
    pub user_timeout: Duration,
    /// How long a closed or dropped connection may go on delivering what was written, in the
    /// background, before it is reset.
    pub linger: Duration,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            buffers: Buffers::default(),
            nodelay: true,
            delayed_ack: None,
            keep_alive: None,
            user_timeout: Duration::from_secs(120),
            linger: Duration::from_secs(60),
        }
    }
}

/// Bounds on what the sockets of one interface may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in the buffers of all TCP connections, lingering ones included. At the limit,
    /// connections in TIME-WAIT are forgotten first; then new connections are refused.
    pub tcp_bytes: usize,
    /// Connections that the application has closed and that still finish in the background.
    pub lingering: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tcp_bytes: 8 << 20,
            lingering: 64,
        }
    }
}
