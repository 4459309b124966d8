//! Options of a session's sockets.

use core::time::Duration;
use netstack::{Buffers, TcpOptions};

/// Options of both sockets of a session, the client's and the next hop's. With 20 sessions their
/// buffers take 2.5 MiB.
pub(crate) fn tcp_options() -> TcpOptions {
    TcpOptions {
        buffers: Buffers::both(32 * 1024),
        linger: Duration::from_secs(10),
        ..TcpOptions::default()
    }
}
