//! What goes to a receiver on the other host: `xl migrate` through the stream meter, or a save file.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use super::protocol::{Sent, bounded};
use super::transport::{CONNECT_LIMIT, watch_for_silence};
use crate::migration::{Options, SaveFile, Target, start_named};
use crate::process::tail;

/// Migrates `domain` to the receiver at `to`. A migration that fails is part of the result; an
/// error means that `xl migrate` could not be run to its end.
pub(super) fn send(domain: &str, to: SocketAddr, limit: Duration) -> Result<Sent> {
    let agent = std::env::current_exe().context("own path")?;
    let options = Options {
        target: Target::Elsewhere(format!("exec {} connect {to}", agent.display())),
        limit,
        ..Options::default()
    };
    let migration = start_named(domain, &options)?.wait()?;
    Ok(Sent {
        ok: migration.succeeded,
        took_ms: migration.took.as_secs_f64() * 1000.0,
        text: bounded(&tail(&migration.output, 12)),
        stream: migration.stream,
    })
}

/// Sends a save file to the receiver at `to`; ends when the receiver has closed the connection.
pub(super) fn send_file(file: &SaveFile, to: SocketAddr) -> Result<()> {
    let path = file.path().display().to_string();
    let mut source = File::open(file.path()).with_context(|| path.clone())?;
    let mut socket = TcpStream::connect_timeout(&to, CONNECT_LIMIT)
        .with_context(|| format!("connecting to the receiver at {to}"))?;
    watch_for_silence(&socket).context("socket options")?;
    io::copy(&mut source, &mut socket).with_context(|| format!("{path} to {to}"))?;
    socket.shutdown(Shutdown::Write)?;
    // It sends nothing, and closes when it has the whole file.
    let mut end = [0];
    socket.read(&mut end).context("the receiver's end")?;
    Ok(())
}
