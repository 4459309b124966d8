//! What a user of the sockets can choose: buffer sizes, timeouts, memory.

use core::time::Duration;

/// Buffer sizes of one TCP connection, in bytes. Both are allocated when the connection (or the
/// listener's next spare socket) is made. The receive size is also the largest window offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Receive buffer.
    pub receive: usize,
    /// Transmit buffer.
    pub transmit: usize,
}

impl Buffers {
    /// The smallest size of either buffer: two full segments, so that a sender is never stuck
    /// between "window too small for a segment" and delayed acknowledgements.
    pub const MIN: usize = 2 * 1460;
    /// The largest size of either buffer.
    pub const MAX: usize = 16 << 20;

    /// Both directions with `size` bytes.
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
    /// To receive, the most that works without window scaling: the edge of a scaled window moves
    /// back and forth as it is rounded. To transmit, 64 KiB, about one TSO segment.
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
    /// Send small segments at once (Nagle's algorithm off). On by default: mail is a dialogue.
    pub nodelay: bool,
    /// How long an acknowledgement may wait for data to ride on. `None`, the default, sends one
    /// per batch of received segments.
    pub delayed_ack: Option<Duration>,
    /// How often to probe an idle peer. `None`, the default, never does.
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
    /// Bytes in the buffers of all TCP connections, lingering ones included. When it is reached,
    /// connections in TIME-WAIT are forgotten first; then new ones are refused.
    pub tcp_bytes: usize,
    /// Connections that were closed by the application and still finish in the background.
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
