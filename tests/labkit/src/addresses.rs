//! The lab's network: addresses that dom0's init sets and guests are given.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The bridge in dom0 that joins all guests.
pub const BRIDGE: &str = "xenbr0";

/// dom0's address on the bridge.
pub const DOM0: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Another bridge in dom0, and dom0's address on it ([`crate::net::router`]).
pub const SECOND_BRIDGE: &str = "xenbr1";

/// dom0's address on [`SECOND_BRIDGE`].
pub const SECOND_ROUTER: Ipv4Addr = second_ipv4(1);

/// The address of the second host's dom0, in scenarios that have two hosts.
pub const SECOND_DOM0: Ipv4Addr = ipv4(254);

/// Returns the IPv4 address whose last byte is `number`.
#[must_use]
pub const fn ipv4(number: u8) -> Ipv4Addr {
    let [a, b, c, _] = DOM0.octets();
    Ipv4Addr::new(a, b, c, number)
}

/// Returns the address on [`SECOND_BRIDGE`] whose last byte is `number`.
#[must_use]
pub const fn second_ipv4(number: u8) -> Ipv4Addr {
    let [a, b, c, _] = DOM0.octets();
    Ipv4Addr::new(a, b, c + 1, number)
}

/// Returns the IPv6 address of the guest with this number.
#[must_use]
pub const fn ipv6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0xca, 0, 0, 0, 0, 0, number as u16)
}

/// Returns the MAC address of the guest with this number: Xen's prefix 00:16:3e, and one address
/// for each number, so that dom0's neighbour entries stay right from one domain to the next.
#[must_use]
pub const fn mac(number: u8) -> [u8; 6] {
    [0x00, 0x16, 0x3e, 0xca, 0x00, number]
}

/// Returns the link-local IPv6 address of the guest with this number, made of its MAC address (RFC
/// 4291, appendix A).
#[must_use]
pub const fn link_local(number: u8) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac(number);
    let bytes = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    Ipv6Addr::from_bits(u128::from_be_bytes(bytes))
}
