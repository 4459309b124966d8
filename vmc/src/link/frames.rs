//! Ethernet frames that need not go through netfront.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::state::Link;
use crate::guest::Guest;
use crate::output::Output;
use crate::platform::Platform;
use crate::stream::Pair;
use crate::wire::Message;
use crate::wire::message::LONGEST_FRAME;

impl<P: Platform> Link<P> {
    /// Sends an Ethernet frame; returns whether it went.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) -> bool {
        if !self.is_open() || frame.is_empty() || frame.len() > LONGEST_FRAME {
            return false;
        }
        match self.outbox.has_room_beside(&self.memory, frame.len()) {
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

    /// Takes a frame from the peer.
    pub(crate) fn take_frame(&mut self, guest: &mut Guest<P>, frame: &[u8]) {
        let mut copy = Vec::new();
        if guest.outputs.has_room() && copy.try_reserve_exact(frame.len()).is_ok() {
            copy.extend_from_slice(frame);
            guest.outputs.push_if_room(Output::Frame(copy));
        }
    }
}

/// Returns the addresses of the IP packet in an Ethernet frame, as its receiver
/// sees them.
pub(crate) fn pair_of_frame(frame: &[u8]) -> Option<Pair> {
    let (remote, local) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let (source, rest) = frame.get(26..)?.split_first_chunk::<4>()?;
            let destination = rest.first_chunk::<4>()?;
            let (source, destination) = (Ipv4Addr::from(*source), Ipv4Addr::from(*destination));
            (source.into(), destination.into())
        }
        [0x86, 0xdd] => {
            let (source, rest) = frame.get(22..)?.split_first_chunk::<16>()?;
            let destination = rest.first_chunk::<16>()?;
            let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
            (source.into(), destination.into())
        }
        _ => return None,
    };
    Some(Pair { local, remote })
}
