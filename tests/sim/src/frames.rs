//! Frames that take a link instead of the network: what was sent, and what
//! arrives.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Frames in flight, by number.
#[derive(Debug, Default)]
pub struct Frames {
    next: u64,
    /// The receiver, and the frame.
    under_way: BTreeMap<u64, (usize, Vec<u8>)>,
    /// The last frame that arrived, by sender and receiver.
    last: BTreeMap<(IpAddr, usize), u64>,
    /// The liar's address: what it sends in its own name may be anything.
    pub hostile: Option<IpAddr>,
}

/// Offsets of the source address in an Ethernet frame with IPv4, and of the
/// frame's number.
const SOURCE: usize = 26;
const NUMBER: usize = 34;

impl Frames {
    /// Makes a frame of at least `len` bytes between two addresses.
    pub fn make(&mut self, from: IpAddr, to: (usize, IpAddr), len: usize) -> (u64, Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let mut frame = vec![number as u8; len.max(NUMBER + 8)];
        match (from, to.1) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame[12..14].copy_from_slice(&[0x08, 0x00]);
                frame[14] = 0x45;
                frame[SOURCE..SOURCE + 4].copy_from_slice(&from.octets());
                frame[SOURCE + 4..SOURCE + 8].copy_from_slice(&to.octets());
                frame[NUMBER..NUMBER + 8].copy_from_slice(&number.to_le_bytes());
            }
            (from, to) => {
                let octets = |address| match address {
                    IpAddr::V6(address) => address.octets(),
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                };
                frame.resize(len.max(62), number as u8);
                frame[12..14].copy_from_slice(&[0x86, 0xdd]);
                frame[14] = 0x60;
                frame[22..38].copy_from_slice(&octets(from));
                frame[38..54].copy_from_slice(&octets(to));
                frame[54..62].copy_from_slice(&number.to_le_bytes());
            }
        }
        self.under_way.insert(number, (to.0, frame.clone()));
        (number, frame)
    }

    /// Notes that the link did not take the frame.
    pub fn refused(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// Checks a frame that came out of a link at guest `to`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn arrive(&mut self, to: usize, frame: &[u8]) -> Result<(), String> {
        let (from, at): (IpAddr, usize) = match frame.get(12..14) {
            Some([0x08, 0x00]) => match frame.get(SOURCE..SOURCE + 4) {
                Some(&[a, b, c, d]) => ([a, b, c, d].into(), NUMBER),
                _ => return Err("a frame that is cut off".to_owned()),
            },
            _ => match frame
                .get(22..38)
                .and_then(|bytes| bytes.first_chunk::<16>())
            {
                Some(octets) => ((*octets).into(), 54),
                None => return Err("a frame that is cut off".to_owned()),
            },
        };
        if self.hostile == Some(from) {
            return Ok(());
        }
        let number = frame.get(at..).and_then(|bytes| bytes.first_chunk());
        let Some(number) = number.map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Err("a frame without a number".to_owned());
        };
        match self.under_way.remove(&number) {
            Some((receiver, sent)) if receiver == to && sent == frame => {}
            Some(_) => return Err(format!("frame {number} is not what was sent")),
            None => return Err(format!("frame {number} came twice, or from nowhere")),
        }
        match self.last.insert((from, to), number) {
            Some(last) if last > number => Err(format!("frame {number} came after {last}")),
            _ => Ok(()),
        }
    }

    /// Forgets frames that were lost with their links, in time.
    pub(crate) fn check_room(&mut self, _by: usize) {
        while self.under_way.len() > 4096 {
            self.under_way.pop_first();
        }
    }
}
