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

/// Smallest limit of a mail's size in bytes: less than any header is a mistake.
const SIZE_MIN: u64 = 1024;

/// Smallest limit of a line in bytes: what RFC 5321 4.5.3.1.6 obliges to take.
const LINE_MIN: usize = 998;

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
    /// Whether mail is taken from the guest's own subnets, because nobody else is named.
    pub(crate) own_subnets: bool,
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
        let mut smtp = smtp_config(network.hostname())?;
        limits(&mut line, &mut smtp)?;
        let own_subnets = !admit(&mut line, &mut smtp)?;
        line.finish()?;
        Ok(Self {
            network,
            listen,
            next_hop,
            sessions,
            smtp,
            own_subnets,
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

fn smtp_config(hostname: Option<&str>) -> Result<smtp::Config, OptionError> {
    let name = hostname.unwrap_or(HOSTNAME);
    let mut smtp = smtp::Config::new(name).map_err(|_| {
        OptionError::invalid(
            "hostname",
            name,
            "a domain name (example: hostname=mx.example.org)",
        )
    })?;
    smtp.name_is_unique = hostname.is_some();
    Ok(smtp)
}

/// Takes the limits of a message.
fn limits(line: &mut CommandLine, smtp: &mut smtp::Config) -> Result<(), OptionError> {
    let size = format!(
        "a number of bytes from {SIZE_MIN} on, or 0 for no limit (example: max-size=67108864)"
    );
    if let Some(bytes) = line.take_parsed("max-size", &size)? {
        if (1..SIZE_MIN).contains(&bytes) {
            return Err(OptionError::invalid("max-size", &bytes.to_string(), &size));
        }
        smtp.max_message_bytes = bytes;
    }
    let length = format!(
        "a number of bytes from {LINE_MIN} on, or 0 for no limit (example: max-line={LINE_MIN})"
    );
    if let Some(bytes) = line.take_parsed("max-line", &length)? {
        if (1..LINE_MIN).contains(&bytes) {
            return Err(OptionError::invalid(
                "max-line",
                &bytes.to_string(),
                &length,
            ));
        }
        smtp.max_line_bytes = bytes;
    }
    Ok(())
}

/// Takes whose mail may pass; returns whether anybody was named.
fn admit(line: &mut CommandLine, smtp: &mut smtp::Config) -> Result<bool, OptionError> {
    let domains = line.take("relay-for");
    for domain in domains.iter().flat_map(|list| list.split(',')) {
        smtp.relay_for(domain).map_err(|_| {
            OptionError::invalid(
                "relay-for",
                domains.as_deref().unwrap_or_default(),
                "domain names, up to 64, with commas between (example: relay-for=example.org,.example.org)",
            )
        })?;
    }
    let networks = line.take("allow-from");
    for network in networks.iter().flat_map(|list| list.split(',')) {
        let allowed = network.parse().is_ok_and(|n| smtp.allow_from(n).is_ok());
        if !allowed {
            return Err(OptionError::invalid(
                "allow-from",
                networks.as_deref().unwrap_or_default(),
                "networks, up to 64, with commas between (example: allow-from=10.0.0.0/8,fd00::/8)",
            ));
        }
    }
    Ok(domains.is_some() || networks.is_some())
}
