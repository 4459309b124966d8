//! The relay's command line.

use crate::next_hop::{self, NextHop};
use alloc::format;
use alloc::string::ToString;
use kernel::cmdline::{CommandLine, OptionError};
use kernel::{PAGE_SIZE, mem};
use netstack::Config as NetworkConfig;

/// Name of a relay without `hostname=`.
const HOSTNAME: &str = "causeway";

/// Default number of clients served at once.
const SESSIONS: usize = 20;

/// Memory for one client beside the sockets, whose buffers the network bounds
/// itself: two sessions, one being served and one saying goodbye to the next
/// hop, each with its queue (16 KiB), read-ahead and replies.
const BYTES_PER_SESSION: usize = 72 * 1024;

/// Most sessions that `sessions=` may name: for each packet smoltcp searches
/// its sockets one by one.
const SESSIONS_MAX: usize = 200;

/// Everything on the command line.
pub(crate) struct Options {
    pub(crate) network: NetworkConfig,
    pub(crate) listen: u16,
    pub(crate) next_hop: NextHop,
    pub(crate) sessions: usize,
    pub(crate) smtp: smtp::Config,
}

impl Options {
    /// Takes all options; any other option is an error.
    pub(crate) fn take(mut line: CommandLine) -> Result<Self, OptionError> {
        let network = NetworkConfig::take(&mut line)?;
        let port = "a port number from 1 to 65535 (example: listen=25)";
        let listen = match line.take_parsed("listen", port)? {
            Some(0) => return Err(OptionError::invalid("listen", "0", port)),
            given => given.unwrap_or(25),
        };
        let next_hop = line.take_required("next-hop", next_hop::EXPECTED)?;
        let sessions = sessions(&mut line)?;
        let smtp = smtp_config(&mut line, network.hostname())?;
        line.finish()?;
        Ok(Self {
            network,
            listen,
            next_hop,
            sessions,
            smtp,
        })
    }
}

/// Returns how many clients to serve: as many as given, or the default, but no
/// more than a quarter of the free memory holds.
fn sessions(line: &mut CommandLine) -> Result<usize, OptionError> {
    let fit = mem::frames::usage().free * PAGE_SIZE / 4 / BYTES_PER_SESSION;
    let fit = fit.clamp(1, SESSIONS_MAX);
    let expected = format!("a number from 1 to {fit} with this memory (example: sessions=20)");
    match line.take_parsed("sessions", &expected)? {
        None => Ok(SESSIONS.min(fit)),
        Some(given) if (1..=fit).contains(&given) => Ok(given),
        Some(given) => Err(OptionError::invalid(
            "sessions",
            &given.to_string(),
            &expected,
        )),
    }
}

fn smtp_config(
    line: &mut CommandLine,
    hostname: Option<&str>,
) -> Result<smtp::Config, OptionError> {
    let hostname = hostname.unwrap_or(HOSTNAME);
    let mut smtp = smtp::Config::new(hostname).map_err(|_| {
        OptionError::invalid(
            "hostname",
            hostname,
            "a domain name (example: hostname=mx.example.org)",
        )
    })?;
    let size = "a number of bytes (example: max-size=67108864)";
    if let Some(bytes) = line.take_parsed("max-size", size)? {
        smtp.max_message_bytes = bytes;
    }
    if let Some(domains) = line.take("relay-for") {
        for domain in domains.split(',') {
            smtp.relay_for(domain).map_err(|_| {
                OptionError::invalid(
                    "relay-for",
                    &domains,
                    "domain names, up to 64, with commas between (example: relay-for=example.org,.example.org)",
                )
            })?;
        }
    }
    Ok(smtp)
}
