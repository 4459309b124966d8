//! IPv6 addresses and a default router from router advertisements: stateless address
//! autoconfiguration (RFC 4862) and router discovery (RFC 4861 section 6.3).
//!
//! smoltcp 0.14 has both, but gives up after three solicitations, takes one prefix of an
//! advertisement, lets a forged lifetime of zero remove an address at once, and cannot be told of
//! time that has passed in a suspend or of another network.
//!
//! An address is a prefix of 64 bits and the modified EUI-64 of the MAC (RFC 4291 appendix A).
//! Duplicates are not looked for: who has the MAC has the address.

use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

use kernel::backoff::Backoff;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpProtocol};

use crate::addressing::link_local;
use crate::packet::Packet;

/// Prefixes and routers that are kept; further ones are ignored.
const MOST: usize = 2;
/// Bytes of an advertisement before its options (RFC 4861 section 4.2).
const HEADER: usize = 16;
/// Type of a router advertisement.
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of the option Prefix Information, and its length in bytes (RFC 4861 section 4.6.2).
const PREFIX_INFORMATION: (u8, usize) = (3, 32);
/// Flag of a prefix from which addresses may be made.
const AUTONOMOUS: u8 = 0x40;
/// The lifetime that no unauthenticated advertisement shortens further (RFC 4862 section 5.5.3 e).
const TWO_HOURS: Duration = Duration::from_secs(7200);
/// The pauses between solicitations while there is no router (RFC 7559 section 2).
const SOLICIT: Backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(3600));

/// Something with an end: all ones in an advertisement is no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lasting<T> {
    value: T,
    ends: Instant,
}

/// What has been learned from advertisements, and when to ask for another.
#[derive(Debug)]
pub(crate) struct Autoconf {
    routers: heapless::Vec<Lasting<Ipv6Addr>, MOST>,
    /// The upper 64 bits of addresses.
    prefixes: heapless::Vec<Lasting<u64>, MOST>,
    backoff: Backoff,
    /// When to solicit next; `None` once a router is known.
    solicit: Option<Instant>,
}

/// A prefix option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    prefix: u64,
    valid: Duration,
}

/// A valid advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Advertisement {
    router: Ipv6Addr,
    lifetime: Duration,
    prefixes: Vec<Prefix>,
}

impl Advertisement {
    /// Parses a frame. Returns `None` unless it is an advertisement that a host may believe
    /// (RFC 4861 section 6.1.2).
    fn parse(frame: &[u8]) -> Option<Self> {
        let packet = Packet::find(frame)?;
        let core::net::IpAddr::V6(router) = packet.source else {
            return None;
        };
        let (hop_limit, body) = (*frame.get(21)?, frame.get(packet.payload.clone())?);
        let is_valid = packet.protocol == IpProtocol::Icmpv6
            && router.is_unicast_link_local()
            && hop_limit == 255
            && body.len() >= HEADER
            && body[0] == ROUTER_ADVERTISEMENT
            && body[1] == 0
            && checksum_is_right(&packet, body);
        if !is_valid {
            return None;
        }
        let mut prefixes = Vec::new();
        let mut options = &body[HEADER..];
        while let [kind, units, ..] = *options {
            let length = usize::from(units) * 8;
            if length == 0 || length > options.len() {
                return None;
            }
            let (option, rest) = options.split_at(length);
            options = rest;
            if (kind, length) == PREFIX_INFORMATION {
                prefixes.extend(Prefix::parse(option));
            }
        }
        Some(Self {
            router,
            lifetime: Duration::from_secs(u64::from(u16::from_be_bytes([body[6], body[7]]))),
            prefixes,
        })
    }
}

impl Prefix {
    /// Parses an option. Returns `None` unless an address can be made of it (RFC 4862 section
    /// 5.5.3 a to d).
    fn parse(option: &[u8]) -> Option<Self> {
        let seconds = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(option.get(at..at + 4)?.try_into().ok()?))
        };
        let (length, flags) = (*option.get(2)?, *option.get(3)?);
        let (valid, preferred) = (seconds(4)?, seconds(8)?);
        let prefix = u64::from_be_bytes(option.get(16..24)?.try_into().ok()?);
        let (first, is_link_local) = (prefix >> 56, prefix >> 54 == 0x3fa);
        let is_usable = flags & AUTONOMOUS != 0
            && length == 64
            && preferred <= valid
            && first != 0xff
            && !is_link_local
            && prefix != 0;
        is_usable.then_some(Self {
            prefix,
            valid: Duration::from_secs(u64::from(valid)),
        })
    }
}

/// Whether the ICMPv6 checksum of `body` is right (RFC 4443 section 2.3).
fn checksum_is_right(packet: &Packet, body: &[u8]) -> bool {
    use smoltcp::wire::{Icmpv6Packet, IpAddress};
    let (IpAddress::Ipv6(source), IpAddress::Ipv6(destination)) = (
        IpAddress::from(packet.source),
        IpAddress::from(packet.destination),
    ) else {
        return false;
    };
    Icmpv6Packet::new_checked(body)
        .is_ok_and(|packet| packet.verify_checksum(&source, &destination))
}

/// Whether a frame looks like an advertisement, at the cost of some comparisons.
pub(crate) fn is_advertisement(frame: &[u8]) -> bool {
    // EtherType IPv6; next header ICMPv6; type.
    frame.len() >= 14 + 40 + HEADER
        && frame[12..14] == [0x86, 0xdd]
        && frame[20] == 58
        && frame[54] == ROUTER_ADVERTISEMENT
}

impl Autoconf {
    /// Begins without a router and asks for one at once.
    pub(crate) fn new() -> Self {
        Self {
            routers: heapless::Vec::new(),
            prefixes: heapless::Vec::new(),
            backoff: SOLICIT,
            solicit: Some(Instant::ZERO),
        }
    }

    /// Takes an advertisement; returns whether addresses or the default router have changed.
    pub(crate) fn hear(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some(advertisement) = Advertisement::parse(frame) else {
            return false;
        };
        let before = self.outcome();
        let Advertisement {
            router, lifetime, ..
        } = advertisement;
        self.routers.retain(|known| known.value != router);
        if !lifetime.is_zero() {
            // A router too many is ignored.
            let _ = self.routers.push(Lasting {
                value: router,
                ends: now + lifetime.into(),
            });
            self.solicit = None;
        }
        for prefix in &advertisement.prefixes {
            self.take(*prefix, now);
        }
        self.outcome() != before
    }

    /// Takes a prefix (RFC 4862 section 5.5.3 d and e).
    fn take(&mut self, Prefix { prefix, valid }: Prefix, now: Instant) {
        let ends = now + valid.into();
        match self.prefixes.iter_mut().find(|known| known.value == prefix) {
            None if valid.is_zero() => {}
            None => {
                // A prefix too many is ignored.
                let _ = self.prefixes.push(Lasting {
                    value: prefix,
                    ends,
                });
            }
            Some(known) if valid > TWO_HOURS || ends > known.ends => known.ends = ends,
            Some(known) => known.ends = known.ends.min(now + TWO_HOURS.into()),
        }
    }

    /// Removes what has ended; returns whether addresses or the default router have changed.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.outcome();
        self.routers.retain(|router| router.ends > now);
        self.prefixes.retain(|prefix| prefix.ends > now);
        if self.routers.is_empty() && self.solicit.is_none() {
            self.ask_anew();
        }
        self.outcome() != before
    }

    /// What the interface takes over.
    fn outcome(&self) -> (Option<Ipv6Addr>, heapless::Vec<u64, MOST>) {
        let prefixes = self.prefixes.iter().map(|prefix| prefix.value);
        (self.router(), prefixes.collect())
    }

    /// Returns the default router.
    pub(crate) fn router(&self) -> Option<Ipv6Addr> {
        // The order of arrival changes with each advertisement; the lowest one stays.
        self.routers.iter().map(|router| router.value).min()
    }

    /// Returns the addresses of the interface with `mac`, with 64 bits of prefix each.
    pub(crate) fn addresses(&self, mac: EthernetAddress) -> impl Iterator<Item = Ipv6Addr> {
        let low = link_local(mac).to_bits() & u128::from(u64::MAX);
        self.prefixes
            .iter()
            .map(move |prefix| Ipv6Addr::from_bits(u128::from(prefix.value) << 64 | low))
    }

    /// Solicits an advertisement as at the start: the network may be another one.
    pub(crate) fn ask_anew(&mut self) {
        self.backoff.reset();
        self.solicit = Some(Instant::ZERO);
    }

    /// Counts time that passed while the clock stood still.
    pub(crate) fn time_passed(&mut self, time: Duration) {
        for router in &mut self.routers {
            router.ends -= time.into();
        }
        for prefix in &mut self.prefixes {
            prefix.ends -= time.into();
        }
    }

    /// Whether to send a solicitation now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.solicit.is_some_and(|at| at <= now)
    }

    /// Counts a solicitation as sent. With a router that is known, three are enough.
    pub(crate) fn solicited(&mut self, now: Instant) {
        let pause = self.backoff.pause();
        let is_enough = !self.routers.is_empty() && self.backoff.failed() >= 3;
        self.solicit = (!is_enough).then(|| now + pause.into());
    }

    /// Returns the time of the next solicitation, or of the next end.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let routers = self.routers.iter().map(|router| router.ends);
        let prefixes = self.prefixes.iter().map(|prefix| prefix.ends);
        routers.chain(prefixes).chain(self.solicit).min()
    }
}

#[cfg(test)]
pub(crate) mod tests;
