//! From the backend to smoltcp.

use alloc::vec::Vec;

use proptest::prelude::{any, prop, proptest};
use smoltcp::phy::Device;

use super::super::netif::rx_flag;
use super::backend::{ALL, NOW, Pair, arp};

#[test]
fn frames_arrive_and_pages_are_offered_again() {
    let mut pair = Pair::new(ALL);
    for round in 0..2000u32 {
        let frame = arp(60 + (round % 1400) as usize, round as u8);
        pair.deliver(&frame, 0);
        assert_eq!(pair.receive(), Some(frame), "round {round}");
        assert_eq!(pair.receive(), None);
        pair.device.finish_batch();
    }
    let statistics = pair.device.statistics();
    assert_eq!(statistics.rx_frames, 2000);
    // A ring of each kind and its first pages: a quiet link needs no more.
    assert_eq!(pair.fake.count(), 2 + 32 + 16);
}

#[test]
fn a_packet_in_many_slots_is_one_frame() {
    let mut pair = Pair::new(ALL);
    let frame = arp(60_000, 9);
    let pieces: Vec<_> = frame.chunks(4096).collect();
    let last = pieces.len() - 1;
    for (index, piece) in pieces.into_iter().enumerate() {
        let offer = pair.offer().unwrap();
        offer.page.write(0, piece);
        let more = if index < last { rx_flag::MORE_DATA } else { 0 };
        let extra = if index == 0 { rx_flag::EXTRA_INFO } else { 0 };
        pair.answer(offer.id, 0, more | extra, piece.len() as i16);
        if index == 0 {
            // The offer in the extra info's slot is used up as well.
            pair.offer().unwrap();
            pair.rx.answer(&[1, 0, 0xa8, 5, 1, 0, 0, 0]);
        }
        // Nothing is handed on before it is complete, however often the device is asked.
        if index < last {
            assert_eq!(pair.receive(), None);
        }
    }
    assert_eq!(pair.receive(), Some(frame));
    pair.deliver(&arp(60, 1), 0);
    assert_eq!(pair.receive(), Some(arp(60, 1)));
}

#[test]
fn load_brings_more_pages_up_to_the_limit() {
    let mut pair = Pair::new(ALL);
    let mut on_offer = 32;
    for _ in 0..6 {
        for _ in 0..on_offer {
            pair.deliver(&arp(60, 0), 0);
        }
        while pair.receive().is_some() {}
        pair.device.finish_batch();
        on_offer = pair.device.statistics().pages as usize - 16;
    }
    assert_eq!(on_offer, 256);
}

#[test]
fn a_guest_without_memory_keeps_what_it_has() {
    let mut pair = Pair::new(ALL);
    pair.fake.supply.set(Some(pair.fake.count() + 5));
    for _ in 0..10 {
        for _ in 0..32 {
            pair.deliver(&arp(60, 0), 0);
        }
        while pair.receive().is_some() {}
        pair.device.finish_batch();
    }
    assert_eq!(pair.device.statistics().rx_frames, 320);
    assert_eq!(pair.device.statistics().pages, 16 + 32 + 5);
}

#[test]
fn one_notification_for_a_batch_and_none_while_the_backend_is_awake() {
    let mut pair = Pair::new(ALL);
    let batch = |pair: &mut Pair| {
        for _ in 0..10 {
            pair.deliver(&arp(60, 0), 0);
        }
        while pair.receive().is_some() {}
        pair.device.finish_batch();
        pair.fake.notified.replace(0)
    };
    assert_eq!(batch(&mut pair), 0);
    while pair.offer().is_some() {}
    pair.rx.sleep();
    // With nothing new to show there is no notification.
    pair.device.finish_batch();
    assert_eq!(pair.fake.notified.replace(0), 0);
    let statistics = pair.device.statistics();
    assert_eq!(
        (statistics.notifications, statistics.notifications_saved),
        (0, 1)
    );
}

#[test]
fn lies_end_the_connection_and_nothing_else() {
    let lies: [fn(&mut Pair); 5] = [
        // More answers than requests.
        |pair| pair.rx.lie(33),
        |pair| pair.rx.lie(u32::MAX),
        // Another slot's id, and one that does not exist.
        |pair| pair.answer(1, 0, 0, 60),
        |pair| pair.answer(u16::MAX, 0, 0, 60),
        // An answer to a transmission that was never requested.
        |pair| pair.tx.lie(1),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut pair = Pair::new(ALL);
        lie(&mut pair);
        assert_eq!(pair.receive(), None, "lie {number}");
        while pair.send(&arp(60, 0), None) && pair.device.connection().is_some() {}
        assert_eq!(pair.device.statistics().violations, 1, "lie {number}");
        // From here on there is no link, and asking does no harm.
        assert!(!pair.send(&arp(60, 0), None));
        assert_eq!(pair.receive(), None);
        pair.device.finish_batch();
        assert!(!pair.device.has_work());
        assert!(pair.device.connection().is_none());
    }
}

#[test]
fn a_backend_that_fills_the_ring_without_end_does_not_keep_the_processor() {
    let mut pair = Pair::new(ALL);
    // All responses are errors, so no frame ends the search.
    for _ in 0..20 {
        for _ in 0..32 {
            if let Some(offer) = pair.offer() {
                pair.answer(offer.id, 0, 0, -1);
            }
        }
        assert!(pair.device.receive(NOW).is_none());
        pair.device.finish_batch();
    }
    assert_eq!(pair.device.statistics().rx_backend_errors, 20 * 32);
}

#[test]
fn an_event_comes_only_after_everything_was_seen() {
    let mut pair = Pair::new(ALL);
    assert!(!pair.device.has_work());
    pair.deliver(&arp(60, 0), 0);
    assert!(
        pair.device.has_work(),
        "an answer that came before the re-arm"
    );
    assert!(pair.receive().is_some());
    assert!(!pair.device.has_work());
}

proptest! {
    #[test]
    fn any_answers_are_survived(
        answers in prop::collection::vec(
            (any::<bool>(), any::<u16>(), any::<u16>(), any::<i16>(), any::<[u8; 8]>()),
            0..400,
        ),
    ) {
        let mut pair = Pair::new(ALL);
        for (honest, offset, flags, status, raw) in answers {
            let Some(offer) = pair.offer() else { break };
            if honest {
                pair.answer(offer.id, offset % 4096, flags & 0xf, status % 4097);
            } else {
                pair.rx.answer(&raw);
            }
            while let Some(frame) = pair.receive() {
                proptest::prop_assert!(frame.len() <= super::super::assemble::MAX_FRAME);
            }
            pair.device.finish_batch();
        }
    }
}
