//! TCP segments in frames: found, changed, cut in two.

use alloc::vec::Vec;

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
};

use crate::memory::copied;
use crate::packet::{ETHERNET, Packet};

/// Finds the IP packet in a frame, if it carries TCP.
pub(super) fn place(frame: &[u8]) -> Option<Packet> {
    Packet::find(frame).filter(|packet| packet.protocol == IpProtocol::Tcp)
}

/// Finds the TCP segment in a frame. Returns the offset at which it begins, and the segment.
pub(super) fn segment(frame: &[u8]) -> Option<(usize, TcpPacket<&[u8]>)> {
    let range = place(frame)?.payload;
    let start = range.start;
    let segment = TcpPacket::new_checked(frame.get(range)?).ok()?;
    Some((start, segment))
}

/// Splits a segment with `headers` bytes of headers, `bytes` bytes of data and a FIN into two
/// frames, one with the data and one with the FIN. Returns `None` without memory for them.
pub(super) fn apart(
    frame: &[u8],
    headers: usize,
    bytes: usize,
    check: bool,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut data, mut fin) = (copied(frame).ok()?, copied(frame.get(..headers)?).ok()?);
    let without_fin = |segment: &mut TcpPacket<&mut [u8]>| segment.set_fin(false);
    change(&mut data, check, without_fin)?;
    shorten(&mut fin)?;
    change(&mut fin, check, |segment| {
        let behind = segment.seq_number() + bytes;
        segment.set_seq_number(behind);
    })?;
    Some((data, fin))
}

/// Corrects the length in the IP header of a frame that was cut off.
pub(super) fn shorten(frame: &mut [u8]) -> Option<()> {
    let left = u16::try_from(frame.len().checked_sub(ETHERNET)?).ok()?;
    let is_v4 = EthernetFrame::new_unchecked(&*frame).ethertype() == EthernetProtocol::Ipv4;
    let packet = frame.get_mut(ETHERNET..)?;
    if is_v4 {
        let mut packet = Ipv4Packet::new_unchecked(packet);
        packet.set_total_len(left);
        packet.fill_checksum();
    } else {
        let mut packet = Ipv6Packet::new_unchecked(packet);
        let headers = u16::try_from(packet.header_len()).ok()?;
        packet.set_payload_len(left.checked_sub(headers)?);
    }
    Some(())
}

/// Changes a frame's segment, and with `fill` its checksum too.
pub(super) fn change(
    frame: &mut [u8],
    fill: bool,
    how: impl FnOnce(&mut TcpPacket<&mut [u8]>),
) -> Option<()> {
    let packet = place(frame)?;
    let mut segment = TcpPacket::new_checked(frame.get_mut(packet.payload)?).ok()?;
    how(&mut segment);
    if fill {
        segment.fill_checksum(&packet.source.into(), &packet.destination.into());
    }
    Some(())
}
