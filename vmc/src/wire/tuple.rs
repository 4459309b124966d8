//! Addresses, pairs of them, and four-tuples as bytes.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::stream::{FourTuple, Pair};

/// Bytes of a pair of addresses.
pub(super) const PAIR_BYTES: usize = 36;

/// Bytes of a four-tuple.
pub(super) const TUPLE_BYTES: usize = 40;

/// Returns `N` bytes from `at` on.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

pub(super) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    }
}

/// Appends an address: 16 bytes, an IPv4 address in the first 4.
pub(super) fn put_address(into: &mut Vec<u8>, address: IpAddr) {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    into.extend_from_slice(&bytes);
}

pub(super) fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    Some(match family {
        4 => IpAddr::V4(Ipv4Addr::from(array::<4>(&bytes, 0)?)),
        6 => IpAddr::V6(Ipv6Addr::from(bytes)),
        _ => return None,
    })
}

/// Appends a pair: its family, three zero bytes, both addresses.
pub(super) fn put_pair(into: &mut Vec<u8>, pair: &Pair) {
    into.extend_from_slice(&[family(pair.local), 0, 0, 0]);
    put_address(into, pair.local);
    put_address(into, pair.remote);
}

pub(super) fn pair(bytes: &[u8]) -> Option<Pair> {
    let family = *bytes.first()?;
    Some(Pair {
        local: address(family, array(bytes, 4)?)?,
        remote: address(family, array(bytes, 20)?)?,
    })
}

pub(super) fn put_tuple(into: &mut Vec<u8>, tuple: &FourTuple) {
    into.extend_from_slice(&[family(tuple.local.ip()), 0, 0, 0]);
    into.extend_from_slice(&tuple.local.port().to_le_bytes());
    into.extend_from_slice(&tuple.remote.port().to_le_bytes());
    put_address(into, tuple.local.ip());
    put_address(into, tuple.remote.ip());
}

pub(super) fn tuple(bytes: &[u8]) -> Option<FourTuple> {
    let family = *bytes.first()?;
    let end = |port, at| {
        let port = u16::from_le_bytes(array(bytes, port)?);
        Some(SocketAddr::new(address(family, array(bytes, at)?)?, port))
    };
    Some(FourTuple {
        local: end(4, 8)?,
        remote: end(6, 24)?,
    })
}
