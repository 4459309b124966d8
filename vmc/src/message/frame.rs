//! Ethernet frames that need not go through netfront.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Message;
use crate::channel::Vmc;
use crate::output::{Cause, Output};
use crate::platform::Platform;
use crate::vms::datagram::array;

const LONGEST: usize = 1514;

impl<P: Platform> Vmc<P> {
    /// Sends an Ethernet frame to a guest of this host. False: it did not go,
    /// and netfront is to take it.
    pub fn send_frame(&mut self, to: IpAddr, frame: &[u8]) -> bool {
        if frame.is_empty() || frame.len() > LONGEST {
            return false;
        }
        let Some(link) = self
            .vms
            .link(to)
            .and_then(|index| self.links.get_mut(index))
            .filter(|link| link.is_open())
        else {
            return false;
        };
        match link.outbox.takes_frame(&link.memory, frame.len()) {
            Ok(true) => {
                link.post(&Message::Frame(frame));
                link.counters.frames_sent += 1;
                true
            }
            Ok(false) => false,
            Err(cause) => {
                link.fault = Some(cause);
                false
            }
        }
    }

    /// A frame has come from the peer of a link.
    pub(crate) fn take_frame(&mut self, index: usize, frame: &[u8]) -> Result<(), Cause> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        link.counters.frames_received += 1;
        if source(frame) != Some(link.address) {
            self.note_wrong_address();
            return Ok(());
        }
        let mut copy = Vec::new();
        if self.has_room() && copy.try_reserve_exact(frame.len()).is_ok() {
            copy.extend_from_slice(frame);
            self.output_if_room(Output::Frame(copy));
        }
        Ok(())
    }
}

/// The source address of an IP packet in an Ethernet frame.
fn source(frame: &[u8]) -> Option<IpAddr> {
    match array::<2>(frame, 12)? {
        [0x08, 0x00] => Some(IpAddr::V4(Ipv4Addr::from(array::<4>(frame, 26)?))),
        [0x86, 0xdd] => Some(IpAddr::V6(Ipv6Addr::from(array::<16>(frame, 22)?))),
        _ => None,
    }
}
