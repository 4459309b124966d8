//! How soon a relay answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client::Client;
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::guest::Guest;
use crate::net::stream;

/// Creates the relay and connects until it has sent its banner. Also returns the milliseconds from
/// the end of `xl create` to the banner.
///
/// # Errors
/// The banner has not come after 20 s.
pub fn boot(guest: &Guest) -> Result<(Domain, f64)> {
    let domain = guest.start()?;
    let from = domain.created;
    let ms = banner_after(guest, from, Deadline::seconds(20));
    let ms = ms.with_context(|| domain.console().tail())?;
    Ok((domain, ms))
}

/// Returns the milliseconds from `from` until a client has read the 220 banner.
///
/// # Errors
/// The deadline passes, or the banner is not 220.
pub fn banner_after(guest: &Guest, from: Instant, deadline: Deadline) -> Result<f64> {
    // Short attempts in a row: dom0's TCP would repeat a connection request that comes before the
    // guest is there only after a second.
    deadline.poll(Duration::from_millis(1), "the banner", || {
        let attempt = Deadline::after(Duration::from_millis(20));
        let Ok(stream) = stream::connect(guest.port(25), attempt) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(deadline.socket_timeout()))?;
        let (client, banner) = Client::over(stream)?;
        let ms = from.elapsed().as_secs_f64() * 1000.0;
        banner.expect(220, "banner")?;
        client.quit()?;
        Ok(Some(ms))
    })
}
