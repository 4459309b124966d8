//! The parser against hand-made streams, whole and in pieces, and against garbage.

use proptest::prelude::*;

use super::{Confusion, Event, Parser};
use crate::meter::report::PageKind;
use crate::meter::testing::{Stream, WORD, small_migration};

fn parse(stream: &[u8], cuts: &[usize]) -> Vec<(u64, Event)> {
    let (mut parser, mut events) = (Parser::new(), Vec::new());
    let mut from = 0;
    let ends = cuts.iter().copied().chain([stream.len()]);
    for to in ends {
        parser.push(&stream[from..to], |at, event| events.push((at, event)));
        from = to;
    }
    events
}

/// The confusion that `stream` ends in.
fn confusion(stream: &Stream) -> Option<Confusion> {
    match parse(&stream.0, &[]).last() {
        Some((_, Event::NotUnderstood(confusion))) => Some(*confusion),
        _ => None,
    }
}

#[test]
fn every_layer_is_seen() {
    let stream = Stream::default()
        .xl(10)
        .headers(2)
        .p2m(4095)
        .pages([5, 6], PageKind::L4Pinned)
        .pages([9], PageKind::Invalid)
        .end();
    let events: Vec<Event> = parse(&stream.0, &[]).into_iter().map(|(_, e)| e).collect();
    let kind = PageKind::L4Pinned;
    let mut expected = vec![
        Event::Config { bytes: 10 },
        Event::Image { version: 2 },
        Event::Domain {
            xen_major: 4,
            xen_minor: 14,
        },
        Event::Record { kind: 3 },
        Event::PfnSpace { pages: 4096 },
        Event::Record { kind: 1 },
        Event::Batch { entries: 2 },
        Event::Entry { pfn: 5, kind },
        Event::Entry { pfn: 6, kind },
        Event::Page,
        Event::Page,
        Event::Record { kind: 1 },
        Event::Batch { entries: 1 },
        Event::Entry {
            pfn: 9,
            kind: PageKind::Invalid,
        },
        Event::Record { kind: 0 },
        Event::End,
    ];
    expected.extend([Event::Word; WORD.len()]);
    assert_eq!(events, expected);
}

#[test]
fn an_event_carries_the_offset_after_its_last_byte() {
    let stream = Stream::default()
        .xl(0)
        .headers(3)
        .pages([1, 2], PageKind::Normal);
    let ends: Vec<u64> = parse(&stream.0, &[])
        .into_iter()
        .filter(|(_, event)| *event == Event::Page)
        .map(|(at, _)| at)
        .collect();
    let end = stream.0.len() as u64;
    assert_eq!(ends, [end - 4096, end]);
}

#[test]
fn one_byte_at_a_time_is_the_same() {
    let stream = small_migration().0;
    let cuts: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(parse(&stream, &cuts), parse(&stream, &[]));
}

#[test]
fn what_is_no_such_stream_is_said_once() {
    let good = || Stream::default().xl(4).headers(3);
    let record = |kind: u32, length: u32| {
        let mut stream = good();
        stream
            .0
            .extend([kind, length].map(u32::to_le_bytes).concat());
        stream.0.extend([0x11; 64]);
        stream
    };
    let mut other_order = Stream::default().xl(4);
    other_order.0[32..36].reverse();
    let mut page_size = good();
    let at = page_size.0.len() - 12;
    page_size.0[at] = 16;
    let mut reserved = good().pages([1], PageKind::Normal);
    let at = reserved.0.len() - 4096 - 1;
    reserved.0[at] = 0x50;
    let mut no_entries = good();
    no_entries = no_entries.record(1, &[0; 8]);
    for (stream, expected) in [
        (Stream(vec![b'x'; 100]), Confusion::NotXl),
        (other_order, Confusion::XlByteOrder),
        (Stream::default().xl(3).xl(0), Confusion::NotLibxl),
        (Stream::default().xl(3).headers(1), Confusion::NotLibxc),
        (page_size, Confusion::PageSize),
        (record(1, u32::MAX), Confusion::LongRecord),
        (record(1, 7), Confusion::PageData),
        (record(1, 4096), Confusion::PageData),
        (record(3, 4), Confusion::PfnSpace),
        (no_entries, Confusion::PageData),
        (reserved, Confusion::PageType),
    ] {
        assert_eq!(confusion(&stream), Some(expected));
    }
}

#[test]
fn a_stream_that_stops_is_not_wrong() {
    let stream = small_migration().0;
    for end in 0..stream.len() {
        // In strides where only page contents go by.
        if end % 61 == 0 || end < 700 {
            assert_eq!(confusion(&Stream(stream[..end].to_vec())), None);
        }
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let stream = small_migration().0;
        let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(parse(&stream, &cuts), parse(&stream, &[]));
    }

    #[test]
    fn garbage_after_any_prefix_does_no_harm(
        end in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        // The interesting part is before the page contents.
        let mut stream = small_migration().0;
        stream.truncate(end.index(700));
        stream.extend(garbage);
        let events = parse(&stream, &[]);
        let confused = events.iter().position(|(_, e)| matches!(e, Event::NotUnderstood(_)));
        if let Some(at) = confused {
            prop_assert_eq!(at, events.len() - 1);
        }
        prop_assert!(events.iter().all(|(at, _)| *at <= stream.len() as u64));
    }

    #[test]
    fn flipped_bits_do_no_harm(flips in prop::collection::vec((0_usize..20_000, 0_u8..8), 1..20)) {
        let mut stream = small_migration().0;
        for (at, bit) in flips {
            stream[at] ^= 1 << bit;
        }
        parse(&stream, &[]);
    }
}
