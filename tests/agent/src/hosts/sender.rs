//! `xl migrate` to a receiver on the other host.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::protocol::{Sent, bounded};
use crate::process::{run, tail};

/// Migrates `domain` to the receiver at `to`. An error means that `xl migrate` could not be run to
/// its end; that it failed is part of the result.
pub(super) fn send(domain: &str, to: SocketAddr, limit: Duration) -> Result<Sent> {
    let agent = std::env::current_exe()?.display().to_string();
    let transport = format!("{agent} connect {to}");
    // With an empty -s the last argument is the transport's command (xl(1)).
    let output = run("xl", &["migrate", "-s", "", domain, &transport], limit)?;
    Ok(Sent {
        ok: output.status.success(),
        took_ms: output.took.as_secs_f64() * 1000.0,
        pages: None,
        text: bounded(&tail(&output.text, 12)),
    })
}
