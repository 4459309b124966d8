//! `xl migrate` to a receiver on the other host, through the stream meter.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::protocol::{Sent, bounded};
use crate::migration::{Options, Target, start_named};
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
