//! Addresses, the subnets that they are in, and the router between those.
//!
//! A subnet is an IPv4 network 10.0.S.0/24 or an IPv6 network fd00:0:0:S::/64.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The router's Ethernet address, in every subnet.
pub const ROUTER: Mac = [0x02, 0xff, 0, 0, 0, 0xfe];

/// Returns the Ethernet address of a guest.
#[must_use]
pub const fn mac(guest: usize) -> Mac {
    [0x02, 0, 0, 0, 0, guest as u8 + 1]
}

/// Returns an IPv4 address of a subnet.
#[must_use]
pub const fn v4(subnet: u8, last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, subnet, last))
}

/// Returns an IPv6 address of a subnet.
#[must_use]
pub const fn v6(subnet: u8, last: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        0xfd00,
        0,
        0,
        subnet as u16,
        0,
        0,
        0,
        last as u16,
    ))
}

/// Returns the `number`th address of the hostile domain.
#[must_use]
pub const fn liars(number: u16, is_v6: bool) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    if is_v6 {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 66, 0, 0, 0, 0, number))
    } else {
        IpAddr::V4(Ipv4Addr::new(10, 66, high, low))
    }
}

/// Whether an address is one of the hostile domain's.
#[must_use]
pub fn is_liars(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[1] == 66,
        IpAddr::V6(address) => address.segments()[2] == 66,
    }
}

/// Whether two addresses are in one subnet.
fn is_adjacent(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

/// Whether an address is the broadcast address of its subnet.
fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[3] == 255)
}

/// The owner of each address, and the router between subnets.
#[derive(Debug, Default)]
pub struct Places {
    owners: BTreeMap<IpAddr, usize>,
    /// Every owner that an address has had.
    former: BTreeMap<IpAddr, Vec<usize>>,
    has_proxy: bool,
    /// When an address last changed hands.
    pub changed_at: u64,
}

impl Places {
    /// Returns places without owners. With `has_proxy`, a router answers for
    /// every address, even within a subnet (proxy ARP, as with vif-route).
    #[must_use]
    pub fn new(has_proxy: bool) -> Self {
        Self {
            has_proxy,
            ..Self::default()
        }
    }

    /// Gives an address to a guest; nobody else has it from then on.
    pub fn give(&mut self, address: IpAddr, guest: usize) {
        self.owners.insert(address, guest);
        let former = self.former.entry(address).or_default();
        if !former.contains(&guest) {
            former.push(guest);
        }
    }

    /// Takes an address from its owner.
    pub fn take(&mut self, address: IpAddr) {
        self.owners.remove(&address);
    }

    /// Returns the guest that has an address.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<usize> {
        self.owners.get(&address).copied()
    }

    /// Returns the guests that have or had an address.
    #[must_use]
    pub fn owners_ever(&self, address: IpAddr) -> &[usize] {
        self.former.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Returns the guests that a packet to `address` reaches.
    #[must_use]
    pub fn receivers(&self, address: IpAddr) -> Vec<usize> {
        if !is_broadcast(address) {
            return self.owner(address).into_iter().collect();
        }
        let owners = self.owners.iter();
        let mut all: Vec<_> = owners
            .filter(|(own, _)| is_adjacent(**own, address))
            .map(|(_, guest)| *guest)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the Ethernet address to which a guest with the addresses `own`
    /// sends what is for `to`: the neighbour's, or the router's.
    #[must_use]
    pub fn next_hop(&self, own: &[IpAddr], to: IpAddr) -> Mac {
        let is_neighbour = own.iter().any(|own| is_adjacent(*own, to));
        match self.owner(to) {
            Some(owner) if is_neighbour && !self.has_proxy => mac(owner),
            _ => ROUTER,
        }
    }
}
