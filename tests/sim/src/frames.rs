//! Frames that take a link instead of the network: what was sent, what arrives,
//! and what the receiving stack makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::place::{Mac, is_liars};
use crate::tcp::{Shared, Side};

/// What a frame carries.
#[derive(Debug, Clone)]
pub enum Cargo {
    /// A datagram of an application.
    Datagram,
    /// A segment of a connection, sent by one side of it.
    Segment {
        /// The connection.
        tcp: Shared,
        /// The side that sent it.
        side: Side,
        /// Its number on the connection.
        id: u64,
    },
}

/// Both ends of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Ethernet addresses: source, destination.
    pub macs: [Mac; 2],
    /// IP addresses: source, destination.
    pub addresses: [IpAddr; 2],
}

/// What the receiving stack makes of a frame.
#[derive(Debug)]
pub enum Arrival {
    /// It is for this guest.
    Taken(Cargo),
    /// It is dropped, as smoltcp drops it.
    Dropped {
        /// What is wrong with it.
        why: &'static str,
        /// Whether an application sent it: nobody sends it again.
        is_datagram: bool,
    },
    /// A liar sent it.
    Hostile,
}

#[derive(Debug)]
struct Sent {
    frame: Vec<u8>,
    cargo: Cargo,
}

/// Frames in flight, by number.
#[derive(Debug, Default)]
pub struct Frames {
    next: u64,
    under_way: BTreeMap<u64, Sent>,
    /// The last frame that arrived, by sender and receiver.
    last: BTreeMap<(IpAddr, usize), u64>,
    /// The liar's addresses: what it sends in its own name may be anything.
    pub hostile: BTreeSet<IpAddr>,
}

/// Offsets of the source address in an Ethernet frame with IPv4 and with IPv6,
/// and of the frame's number.
const SOURCE: [usize; 2] = [26, 22];
const NUMBER: [usize; 2] = [34, 54];

/// Bytes of the shortest frame.
pub const SHORTEST: usize = 62;

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Returns the addresses of a frame, source and destination, and where its
/// number is.
fn parse(frame: &[u8]) -> Option<([IpAddr; 2], usize)> {
    let (family, len) = match frame.get(12..14)? {
        [0x08, 0x00] => (0, 4),
        _ => (1, 16),
    };
    let address = |at: usize| -> Option<IpAddr> {
        let octets = frame.get(at..at + len)?;
        Some(match octets.first_chunk::<16>() {
            Some(octets) => IpAddr::from(*octets),
            None => IpAddr::from(*octets.first_chunk::<4>()?),
        })
    };
    let at = SOURCE[family];
    Some(([address(at)?, address(at + len)?], NUMBER[family]))
}

impl Frames {
    /// Makes a frame of at least `len` bytes.
    pub fn make(&mut self, ends: &Ends, cargo: Cargo, len: usize) -> (u64, Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let mut frame = vec![number as u8; len.max(SHORTEST)];
        let [from, to] = ends.addresses;
        let family = usize::from(from.is_ipv6());
        frame[..6].copy_from_slice(&ends.macs[1]);
        frame[6..12].copy_from_slice(&ends.macs[0]);
        let (kind, version) = [([0x08, 0x00], 0x45), ([0x86, 0xdd], 0x60)][family];
        frame[12..14].copy_from_slice(&kind);
        frame[14] = version;
        let both = [octets(from), octets(to)].concat();
        frame[SOURCE[family]..][..both.len()].copy_from_slice(&both);
        frame[NUMBER[family]..][..8].copy_from_slice(&number.to_le_bytes());
        let sent = Sent {
            frame: frame.clone(),
            cargo,
        };
        self.under_way.insert(number, sent);
        (number, frame)
    }

    /// Notes that the link did not take the frame.
    pub fn refused(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// Checks a frame that came out of a link at guest `to`, which has the
    /// Ethernet address `mac` and the addresses `own`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn arrive(
        &mut self,
        to: usize,
        mac: Mac,
        own: &[IpAddr],
        frame: &[u8],
    ) -> Result<Arrival, String> {
        let Some(([from, destination], at)) = parse(frame) else {
            return Err("a frame that is cut off".to_owned());
        };
        if self.hostile.contains(&from) || is_liars(from) {
            return Ok(Arrival::Hostile);
        }
        let number = frame.get(at..).and_then(|bytes| bytes.first_chunk());
        let Some(number) = number.map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Err("a frame without a number".to_owned());
        };
        let cargo = match self.under_way.remove(&number) {
            // The receiving stack may have changed where it goes.
            Some(sent) if sent.frame.get(6..) == frame.get(6..) => sent.cargo,
            Some(_) => return Err(format!("frame {number} is not what was sent")),
            None => return Err(format!("frame {number} came twice, or from nowhere")),
        };
        if let Some(last) = self.last.insert((from, to), number)
            && last > number
        {
            return Err(format!("frame {number} came after {last}"));
        }
        let why = if frame[..6] != mac {
            "its Ethernet address is another one's"
        } else if !own.contains(&destination) {
            "its address is another one's"
        } else {
            return Ok(Arrival::Taken(cargo));
        };
        Ok(Arrival::Dropped {
            why,
            is_datagram: matches!(cargo, Cargo::Datagram),
        })
    }

    /// Returns the cargo of a frame that the liar takes.
    pub fn claim(&mut self, frame: &[u8]) -> Option<Cargo> {
        let (_, at) = parse(frame)?;
        let number = frame.get(at..)?.first_chunk()?;
        let sent = self.under_way.remove(&u64::from_le_bytes(*number))?;
        Some(sent.cargo)
    }

    /// Forgets frames that were lost with their links, in time.
    pub(crate) fn check_room(&mut self) {
        while self.under_way.len() > 4096 {
            self.under_way.pop_first();
        }
    }
}
