//! The client's command line.

use alloc::string::{String, ToString};
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use kernel::cmdline::{CommandLine, OptionError};
use netstack::Config;

/// Numbers of users; there are as many mails as the square of it.
const N: RangeInclusive<u32> = 1..=100;
/// Bytes of the attached file.
const SIZE: RangeInclusive<u64> = 1..=256 << 20;

const RELAY: &str = "an address, with a port if not 25 (example: relay=10.0.0.2:25)";

/// Everything on the command line.
pub(crate) struct Options {
    pub(crate) network: Config,
    /// The name with which the client greets, and the users' domain.
    pub(crate) domain: String,
    pub(crate) relay: SocketAddr,
    pub(crate) n: u32,
    pub(crate) size: u64,
}

impl Options {
    /// Takes all options; any other option is an error.
    pub(crate) fn take(mut line: CommandLine) -> Result<Self, OptionError> {
        let network = Config::take(&mut line)?;
        let n_expected = "a number of users from 1 to 100 (example: n=4)";
        let n = line.take_parsed("n", n_expected)?.unwrap_or(4);
        if !N.contains(&n) {
            return Err(OptionError::invalid("n", &n.to_string(), n_expected));
        }
        let size_expected = "bytes of the attached file, up to 268435456 (example: size=1048576)";
        let size = line.take_parsed("size", size_expected)?.unwrap_or(1 << 20);
        if !SIZE.contains(&size) {
            return Err(OptionError::invalid(
                "size",
                &size.to_string(),
                size_expected,
            ));
        }
        let text: String = line.take_required("relay", RELAY)?;
        let relay = endpoint(&text).ok_or_else(|| OptionError::invalid("relay", &text, RELAY))?;
        let domain = network.hostname().unwrap_or("mclient.example").to_string();
        line.finish()?;
        Ok(Self {
            network,
            domain,
            relay,
            n,
            size,
        })
    }
}

fn endpoint(text: &str) -> Option<SocketAddr> {
    let whole = text.parse().ok();
    whole
        .or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 25)))
        .filter(|endpoint| endpoint.port() != 0)
}
