//! From smoltcp to the backend.

use alloc::vec::Vec;

use proptest::prelude::{any, prop, proptest};
use smoltcp::phy::{Device, RxToken, TxToken};

use super::super::connection::Features;
use super::super::netif::tx_flag;
use super::backend::{ALL, NOW, Pair, arp};

/// A packet as netback reads it.
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) flags: u16,
    pub(super) mss: Option<u16>,
    ids: Vec<u16>,
}

fn u16_at(slot: &[u8; 12], at: usize) -> u16 {
    u16::from_le_bytes([slot[at], slot[at + 1]])
}

/// Takes the next packet off the ring.
pub(super) fn take(pair: &mut Pair) -> Option<Packet> {
    let first = pair.tx.take()?;
    let flags = u16_at(&first, 6);
    let mut mss = None;
    if flags & tx_flag::EXTRA_INFO != 0 {
        let extra = pair.tx.take().unwrap();
        assert_eq!((extra[0], extra[1], extra[4]), (1, 0, 1));
        mss = Some(u16_at(&extra, 2));
    }
    let mut slots = alloc::vec![first];
    while u16_at(slots.last().unwrap(), 6) & tx_flag::MORE_DATA != 0 {
        slots.push(pair.tx.take().unwrap());
    }
    // The first slot has the size of the whole packet.
    let total = usize::from(u16_at(&slots[0], 10));
    let rest: usize = slots[1..]
        .iter()
        .map(|slot| usize::from(u16_at(slot, 10)))
        .sum();
    let mut bytes = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let len = if index == 0 {
            total - rest
        } else {
            usize::from(u16_at(slot, 10))
        };
        let reference = u32::from_le_bytes(slot[0..4].try_into().unwrap());
        let (page, writable) = pair.fake.granted(reference);
        assert!(!writable, "transmit buffers are only read");
        let mut piece = alloc::vec![0; len];
        page.read(usize::from(u16_at(slot, 4)), &mut piece);
        bytes.extend_from_slice(&piece);
    }
    Some(Packet {
        bytes,
        flags,
        mss,
        ids: slots.iter().map(|slot| u16_at(slot, 8)).collect(),
    })
}

/// Answers a packet; its extra info is answered with a status and no id, as netback does.
pub(super) fn answer(pair: &mut Pair, packet: &Packet, status: i16) {
    for (index, id) in packet.ids.iter().enumerate() {
        let [a, b] = id.to_le_bytes();
        let [c, d] = status.to_le_bytes();
        pair.tx.answer(&[a, b, c, d]);
        if index == 0 && packet.mss.is_some() {
            pair.tx.answer(&[0xee, 0xee, 1, 0]);
        }
    }
}

/// A TCP/IPv4 frame with a blank checksum.
pub(super) fn tcp(payload: usize) -> Vec<u8> {
    let mut frame = alloc::vec![0x33; 54 + payload];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..34].fill(0);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&((40 + payload) as u16).to_be_bytes());
    frame[23] = 6;
    frame[46] = 0x50;
    frame[50..52].fill(0);
    frame
}

#[test]
fn small_and_large_frames_go_out_whole() {
    let mut pair = Pair::new(ALL);
    for len in [14, 60, 1514, 4096, 4097, 65535] {
        let frame = arp(len, len as u8);
        assert!(pair.send(&frame, None));
        pair.device.finish_batch();
        let packet = take(&mut pair).unwrap();
        assert_eq!(packet.bytes, frame);
        assert_eq!(packet.flags & tx_flag::CSUM_BLANK, 0);
        answer(&mut pair, &packet, 0);
    }
}

#[test]
fn checksums_are_left_to_a_backend_that_offers_it() {
    let mut pair = Pair::new(ALL);
    pair.send(&tcp(100), None);
    pair.device.finish_batch();
    let packet = take(&mut pair).unwrap();
    let blank = tx_flag::CSUM_BLANK | tx_flag::DATA_VALIDATED;
    assert_eq!(packet.flags, blank);
    // The pseudo-header's sum: no addresses, protocol 6, 120 bytes.
    assert_eq!(packet.bytes[50..52], [0, 126]);

    let mut pair = Pair::new(Features::default());
    pair.send(&tcp(100), None);
    pair.device.finish_batch();
    let packet = take(&mut pair).unwrap();
    assert_eq!(packet.flags, 0);
    assert_ne!(packet.bytes[50..52], [0, 126]);
}

#[test]
fn segmentation_is_left_to_a_backend_that_offers_it() {
    let mut pair = Pair::new(ALL);
    assert!(pair.device.capabilities().segmentation.tcpv4.is_some());
    pair.send(&tcp(40_000), Some(1448));
    pair.device.finish_batch();
    let packet = take(&mut pair).unwrap();
    assert_eq!(packet.mss, Some(1448));
    assert_eq!(packet.bytes.len(), 40_054);
    answer(&mut pair, &packet, 0);
    assert_eq!(pair.device.statistics().tx_gso_frames, 1);
}

#[test]
fn without_segmentation_smoltcp_is_not_told_of_it_and_the_driver_can_do_it() {
    let features = Features {
        segment_ipv4: false,
        ..ALL
    };
    let mut pair = Pair::new(features);
    assert!(pair.device.capabilities().segmentation.tcpv4.is_none());
    assert!(pair.send(&tcp(64_000), Some(1448)));
    pair.device.finish_batch();
    let mut payload = 0;
    while let Some(packet) = take(&mut pair) {
        assert!(packet.bytes.len() <= 1502 && packet.mss.is_none());
        payload += packet.bytes.len() - 54;
    }
    assert_eq!(payload, 64_000);
    assert_eq!(pair.device.statistics().tx_dropped, 0);
}

#[test]
fn a_silent_backend_stops_the_sender_until_it_answers() {
    let mut pair = Pair::new(ALL);
    let mut sent = 0;
    while pair.send(&arp(65535, 1), None) {
        sent += 1;
    }
    // 64 pages, and 16 for each frame.
    assert_eq!(sent, 4);
    pair.device.finish_batch();
    assert!(!pair.device.has_work());
    // A reply to a received frame does not wait: it is dropped.
    pair.deliver(&arp(60, 0), 0);
    let (received, reply) = pair.device.receive(NOW).unwrap();
    received.consume(|_| ());
    reply.consume(60, |buffer| buffer.fill(0));
    assert_eq!(pair.device.statistics().tx_dropped, 1);
    let packet = take(&mut pair).unwrap();
    answer(&mut pair, &packet, 0);
    assert!(pair.device.has_work());
    assert!(pair.send(&arp(65535, 1), None));
    assert!(!pair.send(&arp(60, 1), None));
}

/// A guest that only answers must reuse its pages, too.
#[test]
fn replies_alone_keep_going_and_come_to_rest() {
    let mut pair = Pair::new(ALL);
    for round in 0..1000 {
        pair.deliver(&arp(60, 0), 0);
        let (received, reply) = pair.device.receive(NOW).unwrap();
        received.consume(|_| ());
        reply.consume(1400, |buffer| buffer.copy_from_slice(&arp(1400, 7)));
        pair.device.finish_batch();
        let packet = take(&mut pair).expect("a reply");
        answer(&mut pair, &packet, 0);
        // Looking finishes the work that is left: it does not go on for ever.
        let looks = (0..10).position(|_| !pair.device.has_work() && pair.receive().is_none());
        assert!(looks.is_some(), "round {round}: the device never rests");
    }
    assert_eq!(pair.device.statistics().tx_dropped, 0);
}

#[test]
fn errors_of_the_backend_are_counted() {
    let mut pair = Pair::new(ALL);
    for status in [-1, -2, 77] {
        pair.send(&arp(60, 0), None);
        pair.device.finish_batch();
        let packet = take(&mut pair).unwrap();
        answer(&mut pair, &packet, status);
    }
    // The answers are looked at when pages run short.
    while pair.send(&arp(65535, 1), None) {}
    assert_eq!(pair.device.statistics().tx_refused_by_backend, 3);
    assert_eq!(pair.device.statistics().violations, 0);
}

#[test]
fn an_answer_that_was_given_before_ends_the_connection() {
    let lies: [[u8; 4]; 3] = [
        // The same id again; one that does not exist; extra info that was not sent.
        [15, 0, 0, 0],
        [0xff, 0xff, 0, 0],
        [0, 0, 1, 0],
    ];
    for lie in lies {
        let mut pair = Pair::new(ALL);
        pair.send(&arp(60, 0), None);
        pair.send(&arp(60, 0), None);
        pair.device.finish_batch();
        let packet = take(&mut pair).unwrap();
        assert_eq!(packet.ids, [15]);
        answer(&mut pair, &packet, 0);
        pair.tx.answer(&lie);
        while pair.send(&arp(65535, 1), None) {}
        assert_eq!(pair.device.statistics().violations, 1, "{lie:?}");
    }
}

proptest! {
    #[test]
    fn pages_go_round_for_ever(
        frames in prop::collection::vec((60..65535usize, any::<bool>()), 1..200),
    ) {
        let mut pair = Pair::new(ALL);
        let mut waiting: Vec<Packet> = Vec::new();
        for (len, lazy) in frames {
            let frame = arp(len, len as u8);
            while !pair.send(&frame, None) {
                proptest::prop_assert!(!waiting.is_empty(), "no room and nothing under way");
                let packet = waiting.remove(waiting.len() / 2);
                answer(&mut pair, &packet, 0);
            }
            pair.device.finish_batch();
            let packet = take(&mut pair).unwrap();
            proptest::prop_assert_eq!(&packet.bytes, &frame);
            // No page is in two packets at once.
            for other in &waiting {
                proptest::prop_assert!(other.ids.iter().all(|id| !packet.ids.contains(id)));
            }
            waiting.push(packet);
            if !lazy {
                let packet = waiting.remove(0);
                answer(&mut pair, &packet, 0);
            }
        }
        proptest::prop_assert_eq!(pair.device.statistics().violations, 0);
    }
}
