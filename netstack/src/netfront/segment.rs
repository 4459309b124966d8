//! TCP/IPv4 segmentation, for a backend that does not do it.
//!
//! smoltcp asks once, when the interface is made, whether the device segments. A guest that arrives
//! on another host may meet a backend without the feature; its frames are then cut here.

use alloc::vec::Vec;
use core::ops::Range;

use super::checksum::{fold, sum};
use super::headers::{Content, ETHERNET, Version, content, protocol};

/// TCP flags that only the last segment may carry: FIN and PSH.
const LAST_ONLY: u8 = 0x01 | 0x08;

/// Cuts a large TCP/IPv4 frame, whose checksum is blank, into frames of at most `mss` bytes of
/// payload, and hands each to `send`, with its TCP checksum still blank. Returns false, and sends
/// nothing, for any other frame.
pub(super) fn segments(
    frame: &[u8],
    mss: u16,
    segment: &mut Vec<u8>,
    mut send: impl FnMut(&mut [u8]),
) -> bool {
    let Some((headers, payload)) = parts(frame) else {
        return false;
    };
    let mss = usize::from(mss.max(1));
    let tcp = ETHERNET + usize::from(frame[ETHERNET] & 0x0f) * 4;
    let first = u32::from_be_bytes([
        frame[tcp + 4],
        frame[tcp + 5],
        frame[tcp + 6],
        frame[tcp + 7],
    ]);
    let data = &frame[payload];
    for (index, piece) in data.chunks(mss).enumerate() {
        let done = index * mss;
        segment.clear();
        segment.extend_from_slice(&frame[headers.clone()]);
        segment.extend_from_slice(piece);
        let total = (segment.len() - ETHERNET) as u16;
        segment[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
        // The identification matters only to fragments, and smoltcp forbids fragmentation; still
        // no two consecutive segments have the same (RFC 6864).
        segment[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&(index as u16).to_be_bytes());
        segment[ETHERNET + 10..ETHERNET + 12].fill(0);
        let checksum = !fold(sum(&segment[ETHERNET..tcp]));
        segment[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
        let sequence = first.wrapping_add(done as u32);
        segment[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
        if done + piece.len() < data.len() {
            segment[tcp + 13] &= !LAST_ONLY;
        }
        send(segment);
    }
    true
}

/// Returns the places of the headers and of the TCP payload.
fn parts(frame: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let Content::Ip(packet) = content(frame) else {
        return None;
    };
    if packet.version != Version::V4
        || packet.protocol != protocol::TCP
        || packet.payload.len() < 20
    {
        return None;
    }
    let header = usize::from(frame[packet.payload.start + 12] >> 4) * 4;
    if header < 20 || header > packet.payload.len() {
        return None;
    }
    let data = packet.payload.start + header;
    Some((0..data, data..packet.payload.end))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket,
        TcpRepr, TcpSeqNumber,
    };

    use super::super::checksum::{Trust, Verdict, check, fill};
    use super::*;

    fn large(payload: &[u8]) -> Vec<u8> {
        let tcp = TcpRepr {
            src_port: 1,
            dst_port: 2,
            control: TcpControl::Psh,
            seq_number: TcpSeqNumber(-100),
            ack_number: Some(TcpSeqNumber(7)),
            window_len: 100,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [Some((8, 9)), None, None],
            timestamp: None,
            payload,
        };
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let ip = Ipv4Repr {
            src_addr: src,
            dst_addr: dst,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let mut bytes = alloc::vec![0; ETHERNET + 20 + tcp.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &ChecksumCapabilities::default());
        tcp.emit(
            &mut TcpPacket::new_unchecked(packet.payload_mut()),
            &src.into(),
            &dst.into(),
            &ChecksumCapabilities::ignored(),
        );
        bytes
    }

    #[test]
    fn segments_are_valid_and_add_up() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i / 7) as u8).collect();
        let mut whole = Vec::new();
        let mut count = 0;
        let cut = segments(&large(&data), 1448, &mut Vec::new(), |frame| {
            fill(frame, |_| false);
            assert_eq!(check(frame, Trust::Unknown), Verdict::Good);
            let ip = Ipv4Packet::new_checked(&frame[ETHERNET..]).expect("IPv4");
            let tcp = TcpPacket::new_checked(ip.payload()).expect("TCP");
            assert_eq!(tcp.seq_number(), TcpSeqNumber(-100) + whole.len());
            assert_eq!(tcp.ack_number(), TcpSeqNumber(7));
            assert_eq!(tcp.psh(), whole.len() + tcp.payload().len() == 5000);
            assert!(tcp.payload().len() <= 1448);
            whole.extend_from_slice(tcp.payload());
            count += 1;
        });
        assert!(cut);
        assert_eq!(count, 4);
        assert_eq!(whole, data);
    }

    #[test]
    fn other_frames_are_left_alone() {
        let mut arp = alloc::vec![0; 42];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert!(!segments(&arp, 1448, &mut Vec::new(), |_| ()));
        assert!(!segments(&[], 1448, &mut Vec::new(), |_| ()));
    }
}
