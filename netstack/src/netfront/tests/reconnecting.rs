//! From one backend to the next, in a migration.

use alloc::vec::Vec;

use proptest::prelude::{any, prop, proptest};
use smoltcp::phy::Device;

use super::super::connection::Features;
use super::super::netif::tx_flag;
use super::backend::{ALL, NOW, Pair, arp};
use super::sending::{answer, take, tcp};

/// Takes and answers every packet in the ring.
fn drain(pair: &mut Pair) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(packet) = take(pair) {
        answer(pair, &packet, 0);
        frames.push(packet.bytes);
    }
    frames
}

#[test]
fn what_was_not_answered_is_sent_again_in_order_before_anything_new() {
    let mut pair = Pair::new(ALL);
    let frames: Vec<_> = [60, 9000, 1514, 65535]
        .map(|len| arp(len, len as u8))
        .into();
    for frame in &frames {
        assert!(pair.send(frame, None));
    }
    pair.device.finish_batch();
    // The first is answered before the migration, and the guest sees it.
    let first = take(&mut pair).unwrap();
    answer(&mut pair, &first, 0);
    pair.device.settle();
    pair.migrate(ALL);
    assert!(pair.send(&arp(100, 1), None));
    pair.device.finish_batch();
    let mut expected = frames[1..].to_vec();
    expected.push(arp(100, 1));
    assert_eq!(drain(&mut pair), expected);
    assert_eq!(pair.device.statistics().tx_resent, 3);
    assert_eq!(pair.device.statistics().tx_dropped, 0);
}

#[test]
fn what_was_sent_again_is_sent_a_third_time_when_nobody_answers() {
    let mut pair = Pair::new(ALL);
    let frame = arp(5000, 7);
    pair.send(&frame, None);
    pair.device.finish_batch();
    pair.migrate(ALL);
    pair.migrate(ALL);
    assert_eq!(drain(&mut pair), [frame]);
    pair.device.settle();
    pair.migrate(ALL);
    assert_eq!(drain(&mut pair), Vec::<Vec<u8>>::new());
}

#[test]
fn frames_wait_while_there_is_no_backend() {
    let mut pair = Pair::new(ALL);
    let frame = arp(60, 7);
    pair.send(&frame, None);
    pair.device.finish_batch();
    pair.device.lose_connection();
    assert!(pair.device.transmit(NOW).is_none(), "nobody to send to");
    assert!(pair.device.receive(NOW).is_none());
    assert!(!pair.device.has_work());
    pair.device.lose_connection();
    pair.connect(ALL);
    assert_eq!(drain(&mut pair), [frame]);
}

#[test]
fn a_backend_without_offloads_gets_finished_segments() {
    let mut pair = Pair::new(ALL);
    pair.send(&tcp(40_000), Some(1448));
    pair.send(&tcp(100), None);
    pair.device.finish_batch();
    let capabilities = pair.device.capabilities().segmentation.tcpv4;
    pair.migrate(Features::default());
    assert_eq!(pair.device.capabilities().segmentation.tcpv4, capabilities);
    let mut total = 0;
    while let Some(packet) = take(&mut pair) {
        assert_eq!(packet.flags & tx_flag::CSUM_BLANK, 0);
        assert_eq!(packet.mss, None);
        assert!(packet.bytes.len() <= 54 + 1448);
        total += packet.bytes.len() - 54;
        answer(&mut pair, &packet, 0);
    }
    assert_eq!(total, 40_100);
}

#[test]
fn what_the_former_backend_left_in_its_rings_is_not_believed() {
    let mut pair = Pair::new(ALL);
    let sent = arp(60, 8);
    pair.send(&sent, None);
    pair.device.finish_batch();
    // A received frame and an answer that arrived while the guest was suspended, perhaps without
    // their data.
    pair.deliver(&arp(60, 9), 0);
    let packet = take(&mut pair).unwrap();
    answer(&mut pair, &packet, 0);
    pair.migrate(ALL);
    assert_eq!(drain(&mut pair), [sent]);
    assert_eq!(pair.receive(), None);
    pair.deliver(&arp(60, 10), 0);
    assert_eq!(pair.receive(), Some(arp(60, 10)));
}

#[test]
fn a_connection_that_lied_leaves_nothing_to_send_again() {
    let mut pair = Pair::new(ALL);
    pair.send(&arp(60, 7), None);
    pair.device.finish_batch();
    pair.rx.lie(300);
    assert!(pair.device.receive(NOW).is_none());
    assert_eq!(pair.device.statistics().violations, 1);
    pair.migrate(ALL);
    assert!(take(&mut pair).is_none());
    assert!(
        pair.send(&arp(60, 8), None),
        "the new backend is trusted anew"
    );
}

proptest! {
    /// Whatever the backend has taken and answered, in any order, each frame arrives at least once,
    /// and those that are sent again keep their order.
    #[test]
    fn no_frame_is_lost(
        sizes in prop::collection::vec(14usize..12_000, 1..12),
        answered in any::<u16>(),
        moves in 1usize..4,
    ) {
        let mut pair = Pair::new(ALL);
        let mut expected = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let mut frame = arp(*size, number as u8);
            frame[0] = number as u8;
            if pair.send(&frame, None) {
                expected.push(frame);
            }
        }
        pair.device.finish_batch();
        let mut arrived = Vec::new();
        let mut packets = Vec::new();
        while let Some(packet) = take(&mut pair) {
            packets.push(packet);
        }
        for (number, packet) in packets.iter().enumerate().rev() {
            if answered & (1 << (number % 16)) != 0 {
                answer(&mut pair, packet, 0);
                arrived.push(packet.bytes.clone());
            }
        }
        pair.device.settle();
        for _ in 0..moves {
            pair.migrate(ALL);
        }
        let again = drain(&mut pair);
        let mut order = again.iter().map(|frame| frame[0]).collect::<Vec<_>>();
        let given = order.clone();
        order.sort_unstable();
        assert_eq!(order, given);
        arrived.extend(again);
        arrived.sort();
        expected.sort();
        assert_eq!(arrived, expected);
    }
}
