//! `agent connect ADDRESS`: carries standard input and output over TCP, as the transport of
//! `xl migrate`.
//!
//! A host that has lost its power closes nothing, so silence must end the connection too. TCP
//! itself watches for it: data must be acknowledged within [`SILENCE`], and a connection without
//! traffic is probed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout};

/// How long the other host may be silent.
pub const SILENCE: Duration = Duration::from_secs(15);

/// How long the receiver may take to accept.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// Seconds without traffic before the first probe, and between two probes.
const PROBE_S: u32 = 3;

/// Carries both directions until the receiver closes its own.
pub fn run(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("not an address with a port")?;
    let socket = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
        .with_context(|| format!("connecting to the receiver at {address}"))?;
    socket.set_nodelay(true)?;
    watch_for_silence(&socket).context("socket options")?;
    let mut to_receiver = socket.try_clone().context("second handle")?;
    thread::spawn(move || {
        let source = io::stdin().lock();
        if let Err(error) = carry(source, &mut to_receiver) {
            eprintln!("agent connect: to {address}: {error}");
        }
        // The receiver sees the end of the stream, and may still answer.
        let _ = to_receiver.shutdown(Shutdown::Write);
    });
    carry(&socket, &mut io::stdout().lock()).with_context(|| format!("from {address}"))
}

/// Sets a connection's time-outs against silence.
pub(super) fn watch_for_silence(socket: &TcpStream) -> nix::Result<()> {
    let limit_ms = SILENCE.as_millis() as u32;
    setsockopt(socket, TcpUserTimeout, &limit_ms)?;
    setsockopt(socket, KeepAlive, &true)?;
    setsockopt(socket, TcpKeepIdle, &PROBE_S)?;
    setsockopt(socket, TcpKeepInterval, &PROBE_S)
}

/// Copies bytes as they come, until the end of `from`.
fn carry(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..count])?;
        to.flush()?;
    }
}
