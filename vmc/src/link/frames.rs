//! Ethernet frames that need not go through netfront.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::state::Link;
use crate::guest::Guest;
use crate::output::Output;
use crate::platform::Platform;
use crate::wire::Message;
use crate::wire::message::LONGEST_FRAME;

impl<P: Platform> Link<P> {
    /// Sends an Ethernet frame; returns whether it went.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) -> bool {
        if !self.is_open() || frame.is_empty() || frame.len() > LONGEST_FRAME {
            return false;
        }
        match self.outbox.takes_frame(&self.memory, frame.len()) {
            Ok(true) => {
                self.post(&Message::Frame(frame));
                self.counters.frames_sent += 1;
                true
            }
            Ok(false) => false,
            Err(fault) => {
                self.fault = Some(fault.into());
                false
            }
        }
    }

    /// Takes a frame from the peer. A frame under another address than the
    /// peer's is dropped.
    pub(crate) fn take_frame(&mut self, guest: &mut Guest<P>, frame: &[u8]) {
        self.counters.frames_received += 1;
        if source(frame) != Some(self.address) {
            guest.note_wrong_address();
            return;
        }
        let mut copy = Vec::new();
        if guest.outputs.has_room() && copy.try_reserve_exact(frame.len()).is_ok() {
            copy.extend_from_slice(frame);
            guest.outputs.push_if_room(Output::Frame(copy));
        }
    }
}

/// Returns the source address of the IP packet in an Ethernet frame.
fn source(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [0x08, 0x00] => {
            let octets = frame.get(26..)?.first_chunk::<4>()?;
            Some(IpAddr::V4(Ipv4Addr::from(*octets)))
        }
        [0x86, 0xdd] => {
            let octets = frame.get(22..)?.first_chunk::<16>()?;
            Some(IpAddr::V6(Ipv6Addr::from(*octets)))
        }
        _ => None,
    }
}
