//! The IP packet in an Ethernet frame, for code that looks into frames beside smoltcp.

use core::net::IpAddr;
use core::ops::Range;

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// An IP packet in a frame.
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    /// The payload's place in the frame.
    pub(crate) payload: Range<usize>,
}

impl Packet {
    /// Finds the packet in a frame. Returns `None` for a fragment, and for a frame without a valid
    /// IP packet.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let link = EthernetFrame::new_checked(frame).ok()?;
        match link.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(link.payload()).ok()?;
                let is_whole = !packet.more_frags() && packet.frag_offset() == 0;
                let (header, total) = (packet.header_len(), packet.total_len());
                is_whole.then(|| Self {
                    source: IpAddr::V4(packet.src_addr()),
                    destination: IpAddr::V4(packet.dst_addr()),
                    protocol: packet.next_header(),
                    payload: ETHERNET + usize::from(header)..ETHERNET + usize::from(total),
                })
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(link.payload()).ok()?;
                let (header, total) = (packet.header_len(), packet.total_len());
                Some(Self {
                    source: IpAddr::V6(packet.src_addr()),
                    destination: IpAddr::V6(packet.dst_addr()),
                    protocol: packet.next_header(),
                    payload: ETHERNET + header..ETHERNET + total,
                })
            }
            _ => None,
        }
    }
}
