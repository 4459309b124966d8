//! What the operator decides: name, limits, time-outs, and the recipients'
//! domains.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::address::{Mailbox, is_address_literal, is_domain};
use crate::replies;

/// Most domains in the list of [`Config::relay_for`].
pub const RELAY_DOMAINS_MAX: usize = 64;

/// Smallest queue towards the next hop in bytes: a trace header with the
/// longest names fits with room to spare.
const BUFFER_MIN: usize = 4096;

/// Why a configuration value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Neither a domain name nor an address literal.
    NotADomain,
    /// More than [`RELAY_DOMAINS_MAX`] domains.
    TooManyDomains,
}

/// How long each wait may last; the defaults are those of RFC 5321 4.5.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the client's next command (4.5.3.2.7).
    pub client_command: Duration,
    /// For the next 512 bytes of message, from the client or to the next hop
    /// (4.5.3.2.5).
    pub message_block: Duration,
    /// For the TCP connection to the next hop. The RFC gives no limit; it must
    /// leave time for an answer within the client's own five minutes.
    pub hop_connect: Duration,
    /// For the next hop's greeting (4.5.3.2.1).
    pub hop_greeting: Duration,
    /// For the answer to a command (4.5.3.2.2, 4.5.3.2.3).
    pub hop_command: Duration,
    /// For the answer to DATA (4.5.3.2.4).
    pub hop_data: Duration,
    /// For the answer to the final dot (4.5.3.2.6).
    pub hop_final: Duration,
    /// For the last reply to leave and the next hop's goodbye to arrive.
    pub closing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_command: Duration::from_secs(5 * 60),
            message_block: Duration::from_secs(3 * 60),
            hop_connect: Duration::from_secs(30),
            hop_greeting: Duration::from_secs(5 * 60),
            hop_command: Duration::from_secs(5 * 60),
            hop_data: Duration::from_secs(2 * 60),
            hop_final: Duration::from_secs(10 * 60),
            closing: Duration::from_secs(10),
        }
    }
}

/// The settings that all sessions share.
#[derive(Clone, Debug)]
pub struct Config {
    hostname: String,
    relay_domains: Vec<String>,
    /// Largest message in bytes, announced by SIZE. Default 64 MiB.
    pub max_message_bytes: u64,
    /// Most recipients of one message; RFC 5321 4.5.3.1.8 asks for 100 at
    /// least. Default 1000.
    pub max_recipients: usize,
    /// Most `Received:` fields of a message (RFC 5321 6.3). Default 50.
    pub max_hops: u32,
    /// The session ends at this many bad commands. Default 20.
    pub max_bad_commands: u32,
    /// Queue towards the next hop in bytes, at least 4096; one is allocated
    /// per session while a next hop is connected. Default 16 KiB.
    pub buffer_bytes: usize,
    /// How long each wait may last.
    pub timeouts: Timeouts,
}

impl Config {
    /// Returns the defaults for a relay that calls itself `hostname`.
    ///
    /// # Errors
    /// [`ConfigError::NotADomain`] if `hostname`, which is sent in EHLO and in
    /// the trace header, is neither a domain name nor an address literal.
    pub fn new(hostname: &str) -> Result<Self, ConfigError> {
        if !is_domain(hostname) && !is_address_literal(hostname) {
            return Err(ConfigError::NotADomain);
        }
        Ok(Self {
            hostname: hostname.to_string(),
            relay_domains: Vec::new(),
            max_message_bytes: 64 * 1024 * 1024,
            max_recipients: 1000,
            max_hops: 50,
            max_bad_commands: 20,
            buffer_bytes: 16 * 1024,
            timeouts: Timeouts::default(),
        })
    }

    /// Relays for recipients in `domain`, and from then on only for domains
    /// that were named so. Without any call the relay takes mail for everybody,
    /// which is meant for closed networks only. `.example.org` stands for all
    /// domains below it.
    ///
    /// # Errors
    /// [`ConfigError`] if `domain` is not a domain, or there are too many.
    pub fn relay_for(&mut self, domain: &str) -> Result<(), ConfigError> {
        let name = domain.strip_prefix('.').unwrap_or(domain);
        if !is_domain(name) && !is_address_literal(domain) {
            return Err(ConfigError::NotADomain);
        }
        if self.relay_domains.len() >= RELAY_DOMAINS_MAX {
            return Err(ConfigError::TooManyDomains);
        }
        self.relay_domains.push(domain.to_string());
        Ok(())
    }

    /// Returns the name that the relay gives itself.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Returns what to send to a client that connects while too many are served;
    /// its connection is then to be closed (RFC 5321 3.8).
    #[must_use]
    pub fn busy_greeting(&self) -> String {
        replies::busy_greeting(&self.hostname)
    }

    /// Returns the size of the queue towards the next hop in bytes.
    pub(crate) fn buffer(&self) -> usize {
        self.buffer_bytes.max(BUFFER_MIN)
    }

    /// Whether mail to `recipient` may pass. Mail to `postmaster` always may
    /// (RFC 5321 4.5.1). A local part that names another host may not: that is
    /// the old way to turn a closed relay into an open one.
    pub(crate) fn relays_to(&self, recipient: &Mailbox) -> bool {
        let Some(domain) = recipient.domain() else {
            return true;
        };
        if self.relay_domains.is_empty() {
            return true;
        }
        let listed = |entry: &String| match entry.starts_with('.') {
            false => entry.eq_ignore_ascii_case(domain),
            true => domain
                .len()
                .checked_sub(entry.len())
                .and_then(|at| domain.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(entry)),
        };
        !recipient.local().contains(['@', '%', '!']) && self.relay_domains.iter().any(listed)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::address::parse_path;

    fn relays(config: &Config, address: &str) -> bool {
        let path = format!("<{address}>");
        let (mailbox, _) = parse_path(path.as_bytes()).expect("valid address");
        config.relays_to(&mailbox.expect("not null"))
    }

    #[test]
    fn only_listed_domains_pass() {
        let mut config = Config::new("relay.example").expect("valid name");
        assert!(relays(&config, "a@anywhere.example"));
        config.relay_for("example.org").expect("valid domain");
        config.relay_for(".sub.example").expect("valid domain");
        for (address, passes) in [
            ("a@Example.ORG", true),
            ("postmaster", true),
            ("a@x.sub.example", true),
            ("a@sub.example", false),
            ("a@xsub.example", false),
            ("a@notexample.org", false),
            ("a@x.example.org", false),
            ("a@[192.0.2.1]", false),
            ("a%other.example@example.org", false),
            ("\"a@other.example\"@example.org", false),
            ("other.example!a@example.org", false),
        ] {
            assert_eq!(relays(&config, address), passes, "{address}");
        }
    }

    #[test]
    fn names_and_the_list_are_checked() {
        assert!(Config::new("bad name").is_err());
        assert!(Config::new("[192.0.2.1]").is_ok());
        let mut config = Config::new("relay.example").expect("valid name");
        assert_eq!(config.relay_for("a b"), Err(ConfigError::NotADomain));
        for n in 0..RELAY_DOMAINS_MAX {
            assert_eq!(config.relay_for(&format!("d{n}.example")), Ok(()));
        }
        assert_eq!(
            config.relay_for("one.more"),
            Err(ConfigError::TooManyDomains)
        );
    }
}
