//! Which addresses are greeted, and answered: HELLO tells this guest's UUID and domid, which is no
//! business of hosts far away. Guests of one host have addresses in networks that are near.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kernel::cmdline::OptionError;
use smoltcp::wire::{IpCidr, Ipv4Cidr, Ipv6Cidr};

/// Most networks on the command line.
const MOST: usize = 8;

const EXPECTED: &str = "networks of guests that may share memory, up to 8, by commas (example: \
                        vmc_networks=10.0.0.0/8,fd00::/8)";

/// Networks that serve private use: RFC 1918, RFC 3927, RFC 6598; RFC 4193, RFC 4291 section 2.5.6.
const PRIVATE: [IpCidr; 7] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([169, 254, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v6(0xfc00, 7),
    v6(0xfe80, 10),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpCidr {
    IpCidr::Ipv4(Ipv4Cidr::new(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, prefix: u8) -> IpCidr {
    IpCidr::Ipv6(Ipv6Cidr::new(
        Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0),
        prefix,
    ))
}

/// The networks in which peers are looked for. Without a list: those of the interface, and private
/// ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(heapless::Vec<IpCidr, MOST>);

impl Networks {
    /// Takes the value of `vmc_networks=`.
    pub(super) fn parse(text: &str) -> Result<Self, OptionError> {
        let invalid = || OptionError::invalid("vmc_networks", text, EXPECTED);
        let mut networks = Self::default();
        for one in text.split(',') {
            let network = network(one).ok_or_else(invalid)?;
            networks.0.push(network).map_err(|_| invalid())?;
        }
        Ok(networks)
    }

    /// Whether a guest at `address` may be a peer. `own`: the networks of the interface.
    pub(super) fn contain(&self, address: IpAddr, own: &[IpCidr]) -> bool {
        let is_in = |networks: &[IpCidr]| {
            let mut networks = networks.iter();
            networks.any(|network| network.contains_addr(&address.into()))
        };
        if self.0.is_empty() {
            is_in(own) || is_in(&PRIVATE)
        } else {
            is_in(&self.0)
        }
    }
}

fn network(text: &str) -> Option<IpCidr> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then(|| IpCidr::new(address.into(), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(networks: &Networks, address: &str) -> bool {
        let own = [v4([198, 51, 100, 7], 24)];
        networks.contain(address.parse().expect("an address"), &own)
    }

    #[test]
    fn without_a_list_own_and_private_networks_are_near() {
        let networks = Networks::default();
        for near in [
            "198.51.100.99",
            "10.9.9.9",
            "172.31.0.1",
            "192.168.7.7",
            "169.254.1.1",
            "100.127.0.1",
            "fd12::1",
            "fe80::1",
        ] {
            assert!(contain(&networks, near), "{near}");
        }
        for far in ["198.51.101.1", "172.32.0.1", "8.8.8.8", "2001:db8::1"] {
            assert!(!contain(&networks, far), "{far}");
        }
    }

    #[test]
    fn a_list_stands_alone() {
        let networks = Networks::parse("203.0.113.0/24,2001:db8::/32").expect("networks");
        for near in ["203.0.113.1", "2001:db8::1"] {
            assert!(contain(&networks, near), "{near}");
        }
        for far in ["198.51.100.99", "10.9.9.9", "fe80::1"] {
            assert!(!contain(&networks, far), "{far}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "fd00::/129",
            "x/8",
            "10.0.0.0/8,",
        ] {
            Networks::parse(text).expect_err(text);
        }
        let nine = ["10.0.0.0/8"; 9].join(",");
        Networks::parse(&nine).expect_err("nine networks");
    }
}
