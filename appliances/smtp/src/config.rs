//! What the operator decides: name, limits, and whose mail may pass.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::address::{Mailbox, is_address_literal, is_domain, is_same_domain};
use crate::network::Subnet;
use crate::replies;
use crate::timeouts::Timeouts;

/// Most domains in the list of [`Config::relay_for`].
pub const RELAY_DOMAINS_MAX: usize = 64;

/// Most networks in the list of [`Config::allow_from`].
pub const NETWORKS_MAX: usize = 64;

/// Smallest queue towards the next hop in bytes: a trace header with the
/// longest names and the longest first line of a message fit with room to spare.
const BUFFER_MIN: usize = 4096;

/// Why a configuration value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Neither a domain name nor an address literal.
    NotADomain,
    /// More than [`RELAY_DOMAINS_MAX`] domains.
    TooManyDomains,
    /// More than [`NETWORKS_MAX`] networks.
    TooManyNetworks,
}

/// The settings that all sessions share. A limit of 0 is no limit.
#[derive(Clone, Debug)]
pub struct Config {
    hostname: String,
    relay_domains: Vec<String>,
    networks: Vec<Subnet>,
    /// Whether everybody may send to everybody.
    open: bool,
    /// Whether no other host has the relay's name, so that a next hop that greets with it is the
    /// relay itself. Default true.
    pub name_is_unique: bool,
    /// Largest message in bytes, announced by SIZE. Default 64 MiB.
    pub max_message_bytes: u64,
    /// Longest line of a message in bytes, without its CRLF. RFC 5321 4.5.3.1.6 asks for 998 at
    /// least; what is longer is left to the next hop. Default 0.
    pub max_line_bytes: usize,
    /// Most recipients of one message; RFC 5321 4.5.3.1.8 asks for 100 at
    /// least. Default 1000.
    pub max_recipients: usize,
    /// Most `Received:` fields of a message (RFC 5321 6.3). Default 50.
    pub max_hops: u32,
    /// The session ends at this many bad commands. Default 20.
    pub max_bad_commands: u32,
    /// The session ends at this many commands in a row that no mail comes of. Default 200.
    pub max_idle_commands: u32,
    /// The session ends at this many refused recipients without a mail that the next hop takes
    /// between them. Default 100.
    pub max_refused_recipients: u32,
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
            networks: Vec::new(),
            open: true,
            name_is_unique: true,
            max_message_bytes: 64 * 1024 * 1024,
            max_line_bytes: 0,
            max_recipients: 1000,
            max_hops: 50,
            max_bad_commands: 20,
            max_idle_commands: 200,
            max_refused_recipients: 100,
            buffer_bytes: 16 * 1024,
            timeouts: Timeouts::default(),
        })
    }

    /// Takes mail for recipients in `domain`, whoever sends it. `.example.org` stands for all
    /// domains below it. Without this, [`Config::allow_from`] and [`Config::close`] everybody may
    /// send to everybody.
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
        let entry = domain.strip_suffix('.').unwrap_or(domain);
        self.open = false;
        self.relay_domains.push(entry.to_string());
        Ok(())
    }

    /// Takes mail from clients in `network`, whoever the recipient is, beside that of
    /// [`Config::relay_for`].
    ///
    /// # Errors
    /// [`ConfigError::TooManyNetworks`].
    pub fn allow_from(&mut self, network: Subnet) -> Result<(), ConfigError> {
        if self.networks.len() >= NETWORKS_MAX {
            return Err(ConfigError::TooManyNetworks);
        }
        self.open = false;
        self.networks.push(network);
        Ok(())
    }

    /// Takes mail from nobody but those that [`Config::allow_from`] and [`Config::relay_for`] name.
    pub fn close(&mut self) {
        self.open = false;
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

    /// Returns the size of the largest message in bytes, if it has a limit.
    pub(crate) fn message_limit(&self) -> Option<u64> {
        (self.max_message_bytes > 0).then_some(self.max_message_bytes)
    }

    /// Returns the size of the queue towards the next hop in bytes.
    pub(crate) fn buffer(&self) -> usize {
        self.buffer_bytes.max(BUFFER_MIN)
    }

    /// Whether `client` may send mail to `recipient`: its network is allowed, or the recipient's
    /// domain is. Mail to the postmaster of the relay or of the next hop always passes (RFC 5321
    /// 4.5.1).
    pub(crate) fn may_relay(&self, client: IpAddr, recipient: &Mailbox) -> bool {
        let is_own = |domain| is_same_domain(domain, &self.hostname);
        self.open
            || self.networks.iter().any(|network| network.contains(client))
            || (recipient.is_postmaster() && recipient.domain().is_none_or(is_own))
            || self.relays_to(recipient)
    }

    /// Whether the recipient's domain is listed; one without a domain is at home at the next hop.
    /// A local part that names another host does not count: that is the old way to turn a closed
    /// relay into an open one.
    fn relays_to(&self, recipient: &Mailbox) -> bool {
        if self.relay_domains.is_empty() || recipient.local().contains(['@', '%', '!']) {
            return false;
        }
        let Some(domain) = recipient.domain() else {
            return true;
        };
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let listed = |entry: &String| match entry.starts_with('.') {
            false => is_same_domain(entry, domain),
            true => domain
                .len()
                .checked_sub(entry.len())
                .and_then(|at| domain.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(entry)),
        };
        self.relay_domains.iter().any(listed)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::address::parse_path;

    const CLIENT: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));

    fn relays(config: &Config, address: &str) -> bool {
        let path = format!("<{address}>");
        let (mailbox, _) = parse_path(path.as_bytes()).expect("valid address");
        config.may_relay(CLIENT, &mailbox.expect("not null"))
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
    fn a_network_or_a_domain_is_enough() {
        let mut config = Config::new("relay.example").expect("valid name");
        assert!(relays(&config, "a@anywhere.example"));
        config.close();
        assert!(!relays(&config, "a@anywhere.example"));
        config
            .allow_from("198.51.100.0/24".parse().expect("a network"))
            .expect("room");
        for (address, passes) in [
            ("a@anywhere.example", false),
            ("root", false),
            ("postmaster", true),
            ("postmaster@relay.example", true),
            ("postmaster@anywhere.example", false),
        ] {
            assert_eq!(relays(&config, address), passes, "{address}");
        }
        config.relay_for("example.org").expect("valid domain");
        assert!(relays(&config, "a@example.org"));
        assert!(!relays(&config, "a@anywhere.example"));
        config
            .allow_from("192.0.2.1".parse().expect("a network"))
            .expect("room");
        assert!(relays(&config, "a%b@anywhere.example"), "its own client");
    }

    #[test]
    fn names_and_the_list_are_checked() {
        assert!(Config::new("bad name").is_err());
        assert!(Config::new("relay.example.").is_ok());
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
