//! The addresses and gateways of an interface, as plain data.

use core::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::wire::EthernetAddress;

/// The addresses that an interface has beside its link-local one, and its gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addressing {
    /// IPv4 address and prefix length in bits.
    pub(crate) ipv4: Option<(Ipv4Addr, u8)>,
    /// IPv4 default gateway.
    pub(crate) gateway4: Option<Ipv4Addr>,
    /// IPv6 address and prefix length in bits.
    pub(crate) ipv6: Option<(Ipv6Addr, u8)>,
    /// IPv6 default gateway.
    pub(crate) gateway6: Option<Ipv6Addr>,
}

/// Whether `address` can belong to a single host.
pub(crate) fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
}

/// Returns the link-local address made of the modified EUI-64 of `mac` (RFC 4291 appendix A).
pub(crate) fn link_local(mac: EthernetAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 0x02,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_follows_rfc_4291() {
        let mac = EthernetAddress([0x00, 0x16, 0x3e, 0x12, 0x34, 0x56]);
        assert_eq!(
            link_local(mac),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0216, 0x3eff, 0xfe12, 0x3456)
        );
    }
}
