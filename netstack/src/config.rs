//! The network's options on the guest's command line.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use kernel::cmdline::{CommandLine, OptionError};

use crate::addressing::{Addressing, is_host};
use crate::channel::ChannelOptions;
use crate::options::Limits;

/// DNS servers that `dns=` may name.
const MAX_DNS: usize = 3;

const IP: &str = "dhcp, or an IPv4 address with its prefix length (example: ip=10.0.0.2/24)";
const GW: &str = "a gateway inside the subnet of a static ip= (example: gw=10.0.0.1)";
const IP6: &str = "auto, off, or an IPv6 address with its prefix length (example: ip6=fd00::2/64)";
const GW6: &str = "an IPv6 gateway beside ip6=, in its subnet or link-local (example: gw6=fd00::1)";
const DNS: &str = "one to three addresses with commas (example: dns=10.0.0.1)";
const HOSTNAME: &str = "a host name of letters, digits, hyphens and dots (example: hostname=relay)";

/// How the interface gets its addresses, and what the network may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The addresses that the command line fixes.
    pub(crate) fixed: Addressing,
    pub(crate) dhcp: bool,
    /// Whether IPv6 addresses and a router come from router advertisements.
    pub(crate) autoconf: bool,
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) hostname: Option<String>,
    /// Shared memory with guests of this host.
    pub(crate) channel: ChannelOptions,
    /// Bounds on memory; `None` stands for a share of what is free when the network starts.
    pub limits: Option<Limits>,
}

impl Config {
    /// Takes the options `ip`, `gw`, `ip6`, `gw6`, `dns` and `hostname`, and those of the channel
    /// (`vmc`, `vmc_peers`, `vmc_rings`, `vmc_ring`, `vmc_memory`). Without `ip`, and without an
    /// address or `auto` in `ip6`, the IPv4 address comes from DHCP. Without `ip6` IPv6 addresses
    /// come from router advertisements, as with `ip6=auto`.
    ///
    /// # Errors
    /// An option is malformed, or contradicts another.
    pub fn take(line: &mut CommandLine) -> Result<Self, OptionError> {
        let mut config = Self::default();
        let ip = line.take("ip");
        let ip6 = line.take("ip6");
        match ip.as_deref() {
            Some("dhcp") => config.dhcp = true,
            Some(text) => {
                let valid = |(address, prefix): &(Ipv4Addr, u8)| {
                    is_host(*address) && !address.is_loopback() && *prefix <= 32
                };
                let address = cidr(text).filter(valid);
                config.fixed.ipv4 =
                    Some(address.ok_or_else(|| OptionError::invalid("ip", text, IP))?);
            }
            None => config.dhcp = matches!(ip6.as_deref(), None | Some("off")),
        }
        config.autoconf = matches!(ip6.as_deref(), None | Some("auto"));
        if let Some(text) = ip6
            .filter(|text| text != "auto" && text != "off")
            .as_deref()
        {
            let valid = |(address, prefix): &(Ipv6Addr, u8)| {
                let special =
                    address.is_unspecified() || address.is_multicast() || address.is_loopback();
                !special && *prefix <= 128
            };
            let address = cidr(text).filter(valid);
            config.fixed.ipv6 =
                Some(address.ok_or_else(|| OptionError::invalid("ip6", text, IP6))?);
        }
        if let Some(text) = line.take("gw") {
            let gateway = text
                .parse()
                .ok()
                .filter(|gateway: &Ipv4Addr| match config.fixed.ipv4 {
                    Some((address, prefix)) => {
                        address != *gateway
                            && same_subnet(address.to_bits(), gateway.to_bits(), prefix)
                    }
                    None => false,
                });
            config.fixed.gateway4 =
                Some(gateway.ok_or_else(|| OptionError::invalid("gw", &text, GW))?);
        }
        if let Some(text) = line.take("gw6") {
            let gateway = text
                .parse()
                .ok()
                .filter(|gateway: &Ipv6Addr| match config.fixed.ipv6 {
                    Some((address, prefix)) => {
                        address != *gateway
                            && (gateway.is_unicast_link_local()
                                || same_subnet6(address, *gateway, prefix))
                    }
                    None => false,
                });
            config.fixed.gateway6 =
                Some(gateway.ok_or_else(|| OptionError::invalid("gw6", &text, GW6))?);
        }
        if let Some(text) = line.take("dns") {
            let servers: Result<Vec<IpAddr>, _> = text.split(',').map(str::parse).collect();
            config.dns = servers
                .ok()
                .filter(|servers| servers.len() <= MAX_DNS)
                .ok_or_else(|| OptionError::invalid("dns", &text, DNS))?;
        }
        if let Some(text) = line.take("hostname") {
            if !is_hostname(&text) {
                return Err(OptionError::invalid("hostname", &text, HOSTNAME));
            }
            config.hostname = Some(text);
        }
        config.channel = ChannelOptions::take(line)?;
        Ok(config)
    }

    /// Returns the name given with `hostname=`, if any.
    pub fn hostname(&self) -> Option<&str> {
        self.hostname.as_deref()
    }
}

/// Parses "address/prefix length".
fn cidr<A: FromStr>(text: &str) -> Option<(A, u8)> {
    let (address, prefix) = text.split_once('/')?;
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

fn same_subnet(a: u32, b: u32, prefix: u8) -> bool {
    let shift = 32 - u32::from(prefix.min(32));
    a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
}

fn same_subnet6(a: Ipv6Addr, b: Ipv6Addr, prefix: u8) -> bool {
    let shift = 128 - u32::from(prefix.min(128));
    a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
}

/// Whether `text` is a host name (RFC 1123 section 2.1), short enough for a DHCP option.
fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn take(line: &str) -> Result<Config, OptionError> {
        let mut line = CommandLine::parse(line)?;
        let config = Config::take(&mut line)?;
        line.finish().map(|()| config)
    }

    #[test]
    fn static_addresses() {
        let config = take(
            "ip=10.0.0.2/24 gw=10.0.0.1 ip6=fd00::2/64 gw6=fe80::1 dns=10.0.0.1,fd00::1 \
             hostname=relay-1.example",
        )
        .expect("valid");
        assert_eq!(config.fixed.ipv4, Some((Ipv4Addr::new(10, 0, 0, 2), 24)));
        assert_eq!(config.fixed.gateway4, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(config.fixed.ipv6.is_some() && config.fixed.gateway6.is_some());
        assert_eq!(config.dns.len(), 2);
        assert_eq!(config.hostname(), Some("relay-1.example"));
        assert!(!config.dhcp);
    }

    #[test]
    fn dhcp_is_the_default_without_any_address() {
        assert!(take("").expect("valid").dhcp);
        assert!(take("ip=dhcp").expect("valid").dhcp);
        assert!(take("ip=dhcp ip6=fd00::2/64").expect("valid").dhcp);
        assert!(!take("ip6=fd00::2/64").expect("valid").dhcp);
        assert!(!take("ip6=auto").expect("valid").dhcp);
        assert!(take("ip6=off").expect("valid").dhcp);
    }

    #[test]
    fn routers_are_heard_unless_the_address_is_given() {
        for (line, expected) in [
            ("", true),
            ("ip=10.0.0.2/24", true),
            ("ip6=auto", true),
            ("ip6=off", false),
            ("ip6=fd00::2/64", false),
        ] {
            assert_eq!(take(line).expect("valid").autoconf, expected, "{line}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for line in [
            "ip=10.0.0.2",
            "ip=10.0.0.2/33",
            "ip=10.0.0.2/+4",
            "ip=10.0.0.256/24",
            "ip=0.0.0.0/0",
            "ip=224.0.0.1/24",
            "ip=127.0.0.1/8",
            "ip=",
            "ip=fd00::1/64",
            "ip6=10.0.0.1/24",
            "ip6=::1/128",
            "ip6=fd00::1/129",
            "gw=10.0.0.1",
            "ip=dhcp gw=10.0.0.1",
            "ip=10.0.0.2/24 gw=10.0.1.1",
            "ip=10.0.0.2/24 gw=10.0.0.2",
            "ip6=fd00::2/64 gw6=fd01::1",
            "dns=",
            "dns=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4",
            "hostname=",
            "hostname=a..b",
            "hostname=-a",
            "hostname=a_b",
        ] {
            let error = take(line).expect_err(line).to_string();
            let key = line
                .split(' ')
                .next_back()
                .and_then(|word| word.split('=').next());
            assert!(error.contains(key.expect("a key")), "{line}: {error}");
        }
    }

    #[test]
    fn subnets() {
        assert!(same_subnet(0x0a00_0001, 0xffff_ffff, 0));
        assert!(same_subnet(5, 5, 32));
        assert!(!same_subnet(4, 5, 32));
    }
}
