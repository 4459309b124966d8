//! Counts, rounds and cuts, from whole streams.

use proptest::prelude::*;

use super::{Cut, MOST_SLOTS, Tally};
use crate::meter::report::{Ended, PageKind, StreamReport};
use crate::meter::testing::{Stream, migration, small_migration};

fn tally(stream: &Stream) -> StreamReport {
    let mut tally = Tally::new(None);
    // A millisecond for each 4 KiB.
    for (number, piece) in stream.0.chunks(4096).enumerate() {
        assert_eq!(tally.forward(piece, number as f64), piece.len());
    }
    tally.report(Ended::BySource, 0, 0.0)
}

/// Pages in each round of a stream of these batches.
fn rounds(batches: &[std::ops::Range<u64>]) -> Vec<u64> {
    let mut stream = Stream::default().xl(0).headers(3);
    for batch in batches {
        stream = stream.pages(batch.clone(), PageKind::Normal);
    }
    let report = tally(&stream.end());
    assert_eq!(
        report.rounds.iter().map(|r| r.records).sum::<u64>(),
        batches.len() as u64
    );
    report.rounds.iter().map(|round| round.pages).collect()
}

#[test]
fn a_migration_in_figures() {
    let stream = migration();
    let report = tally(&stream);
    assert_eq!(report.not_understood, None);
    assert!(report.complete);
    assert_eq!(report.xen.as_deref(), Some("4.14"));
    assert_eq!(report.stream_version, Some(3));
    assert_eq!(report.config_bytes, 333);
    assert_eq!(report.bytes, stream.0.len() as u64);
    assert_eq!(report.v_mem_pages, Some(2000));
    assert_eq!(report.pages_sent, 1965);
    assert_eq!(report.pages_distinct, 1900);
    assert_eq!(report.entries_by_kind[&PageKind::L1], 60);
    assert_eq!(report.records["0x01"], 4);
    assert_eq!(report.records["0x07"], 1);
    let pages: Vec<u64> = report.rounds.iter().map(|round| round.pages).collect();
    assert_eq!(pages, [1900, 60, 5]);
    assert_eq!(report.stop_and_copy().map(|round| round.pages), Some(5));
    assert_eq!(report.rounds[1].bytes, 16 + 60 * (8 + 4096));
    // 1837 once, 3 + 58 twice, 2 three times.
    assert_eq!(report.sent_times, [1837, 61, 2]);
    assert_eq!(report.most_sent[..3], [(100, 3), (101, 3), (3, 2)]);
    assert!(report.handshake.go_ms.is_some());
    let slots = &report.timeline;
    assert_eq!(
        slots.iter().map(|slot| slot.bytes).sum::<u64>(),
        report.bytes
    );
    assert_eq!(slots.iter().map(|slot| slot.pages).sum::<u64>(), 1965);
    assert!(slots.len() > 10 && slots[1].start_ms == 100);
}

#[test]
fn rounds_end_with_a_batch_that_is_not_full_or_a_pfn_that_falls() {
    assert_eq!(rounds(&[0..1024, 1024..1500]), [1500]);
    // The second round lies above the first: only the short batch tells them apart.
    assert_eq!(rounds(&[0..100, 200..300]), [100, 100]);
    // Whole batches only: the falling pfn tells.
    assert_eq!(
        rounds(&[0..1024, 1024..2048, 0..1024, 50..60]),
        [2048, 1024, 10]
    );
    assert_eq!(rounds(&[7..8, 7..8, 7..8]), [1, 1, 1]);
}

#[test]
fn entries_without_contents_are_no_pages() {
    let stream = Stream::default()
        .xl(0)
        .headers(3)
        .p2m(2047)
        .pages(0..1024, PageKind::Invalid)
        .pages(1024..1030, PageKind::Normal)
        .pages(5..6, PageKind::Invalid)
        .end();
    let report = tally(&stream);
    assert_eq!((report.pages_sent, report.entries_empty), (6, 1025));
    assert_eq!(report.pages_distinct, 6);
    assert_eq!(report.rounds.len(), 2);
    assert_eq!(
        (report.rounds[0].entries, report.rounds[0].pages),
        (1030, 6)
    );
}

#[test]
fn pages_for_comparison_are_counted_apart() {
    let stream = Stream::default()
        .xl(0)
        .headers(3)
        .pages(0..10, PageKind::Normal)
        .pages(2..4, PageKind::Normal)
        .record(0xd, &[])
        .pages(0..10, PageKind::Normal)
        .end();
    let report = tally(&stream);
    assert_eq!((report.pages_sent, report.pages_verified), (12, 10));
    assert_eq!(report.stop_and_copy().map(|round| round.pages), Some(2));
}

#[test]
fn the_pfns_of_each_round_are_named_where_wanted() {
    let stream = Stream::default()
        .xl(0)
        .headers(3)
        .pages(0..100, PageKind::Normal)
        .pages(7..8, PageKind::Invalid)
        .pages(2..4, PageKind::Normal)
        .end();
    assert!(tally(&stream).sent_of(&[(0, 9)]).is_empty());
    let mut tally = Tally::new(None).naming_pfns();
    tally.forward(&stream.0, 0.0);
    assert_eq!(tally.rounds(), 3);
    let report = tally.report(Ended::BySource, 0, 0.0);
    assert_eq!(report.round_pfns[0], [(0, 99)]);
    assert_eq!(report.round_pfns.last(), Some(&vec![(2, 3)]));
    let sent = report.sent_of(&[(3, 3), (90, 200)]);
    assert_eq!((sent[0], sent.last()), (11, Some(&1)));
}

#[test]
fn a_report_survives_its_file() {
    let report = tally(&migration());
    let text = serde_json::to_string(&report).expect("plain data");
    let back: StreamReport = serde_json::from_str(&text).expect("the same type");
    assert_eq!(back, report);
}

#[test]
fn what_is_not_understood_is_passed_on_and_counted_in_bytes() {
    let report = tally(&Stream(vec![7; 10_000]));
    assert_eq!(report.bytes, 10_000);
    assert!(
        report
            .not_understood
            .is_some_and(|why| why.contains("no header of xl"))
    );
}

#[test]
fn the_time_line_is_bounded() {
    let mut tally = Tally::new(None);
    for slot in 0..MOST_SLOTS + 100 {
        tally.forward(&[0; 3], slot as f64 * 100.0);
    }
    let report = tally.report(Ended::BySource, 0, 0.0);
    assert_eq!(report.timeline.len(), MOST_SLOTS);
    assert_eq!(report.timeline.last().map(|slot| slot.bytes), Some(3 * 101));
}

/// Feeds `stream` in pieces of `piece` bytes and returns what was passed on.
fn passed(stream: &[u8], piece: usize, cut: Cut) -> Vec<u8> {
    let (mut tally, mut out) = (Tally::new(Some(cut)), Vec::new());
    for bytes in stream.chunks(piece) {
        let count = tally.forward(bytes, 0.0);
        out.extend(&bytes[..count]);
        if count < bytes.len() {
            break;
        }
    }
    assert_eq!(tally.progress().0, out.len() as u64);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cut_by_bytes_is_exact(at in 0_u64..130_000, piece in 100_usize..30_000) {
        let stream = small_migration().0;
        let out = passed(&stream, piece, Cut::Byte(at));
        prop_assert_eq!(out.len() as u64, at.min(stream.len() as u64));
        prop_assert_eq!(&out[..], &stream[..out.len()]);
    }

    #[test]
    fn a_cut_by_pages_ends_with_the_page(page in 1_u64..27, piece in 100_usize..30_000) {
        let stream = small_migration().0;
        let out = passed(&stream, piece, Cut::Page(page));
        prop_assert!(out.len() < stream.len());
        let report = tally(&Stream(out));
        prop_assert_eq!(report.pages_sent, page);
        prop_assert_eq!(report.bytes, report.timeline.iter().map(|slot| slot.bytes).sum::<u64>());
    }
}
