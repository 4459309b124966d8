use super::*;
use alloc::vec::Vec;
use alloc::{format, string::String};

const OPEN: Limits = Limits {
    size: 1_000_000,
    line: 998,
    hops: 3,
    eight_bit: true,
};

/// Scans `input` in pieces of `step` bytes through a ring with little room.
fn scan(limits: Limits, input: &[u8], step: usize) -> (Vec<u8>, Outcome, u64) {
    let mut body = Body::new(limits);
    let mut ring = Ring::new(SPARE + 7);
    let mut forwarded = Vec::new();
    let mut at = 0;
    loop {
        let piece = &input[at..input.len().min(at + step)];
        let (taken, outcome) = body.scan(piece, &mut ring);
        at += taken;
        while !ring.is_empty() {
            let n = ring.front().len();
            forwarded.extend_from_slice(ring.front());
            ring.take(n);
        }
        if outcome != Outcome::More || at == input.len() {
            return (forwarded, outcome, body.size());
        }
    }
}

#[test]
fn stuffed_data_passes_as_it_is() {
    for (input, size) in [
        ("", 0),
        ("\r\n", 2),
        ("text\r\n", 6),
        ("..\r\n", 3),
        (".a\r\n", 3),
        ("...\r\n..x\r\n.\u{e9}\r\n", 4 + 4 + 4),
        ("a.\r\n . \r\n", 4 + 5),
    ] {
        let stream = format!("{input}.\r\n");
        for step in 1..=stream.len() {
            let (forwarded, outcome, counted) = scan(OPEN, stream.as_bytes(), step);
            assert_eq!(outcome, Outcome::End, "{input:?} in steps of {step}");
            assert_eq!(forwarded, input.as_bytes());
            assert_eq!(counted, size, "{input:?}");
        }
    }
}

#[test]
fn faults_are_the_same_for_every_split() {
    let long = |n: usize| format!("{}\r\n", "x".repeat(n));
    let received = "Received: x\r\n".repeat(3);
    let cases: Vec<(String, Outcome)> = alloc::vec![
        ("a\nb\r\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("a\rb\r\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("a\r\r\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("a\r\n.\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("a\r\n.\rb".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("a\n.\r\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("\n.\r\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("\r.\r\n".into(), Outcome::Fault(Fault::BareLineEnd)),
        ("a\0b\nc".into(), Outcome::Fault(Fault::Nul)),
        ("\u{e9}\0".into(), Outcome::Fault(Fault::Nul)),
        (long(998), Outcome::More),
        (long(999), Outcome::Fault(Fault::LongLine)),
        (format!(".{}", long(998)), Outcome::More),
        (format!(".{}", long(999)), Outcome::Fault(Fault::LongLine)),
        (received.clone(), Outcome::More),
        (
            format!("{received}RECEIVED:"),
            Outcome::Fault(Fault::TooManyHops)
        ),
        (
            format!("{received}.Received:"),
            Outcome::Fault(Fault::TooManyHops)
        ),
        (format!("{received}\r\nReceived: body\r\n"), Outcome::More),
    ];
    for (input, expected) in cases {
        for step in [1, 2, 3, 5, 100, 998, 999, 1000, 5000] {
            let (forwarded, outcome, _) = scan(OPEN, input.as_bytes(), step);
            assert_eq!(outcome, expected, "{input:?} in steps of {step}");
            assert!(input.as_bytes().starts_with(&forwarded));
        }
    }
}

#[test]
fn the_size_is_counted_to_the_octet() {
    let limits = Limits { size: 10, ..OPEN };
    for (input, fits) in [
        ("12345678\r\n", true),
        ("123456789\r\n", false),
        ("1234\r\n..3\r\n.\r\n", true),
        ("1234\r\n..34\r\n", false),
        ("1\r\n2\r\n3\r\n\r\n", false),
    ] {
        for step in 1..=input.len() {
            let (_, outcome, _) = scan(limits, input.as_bytes(), step);
            let refused = outcome == Outcome::Fault(Fault::TooLarge);
            assert_eq!(refused, !fits, "{input:?} in steps of {step}");
        }
    }
}

#[test]
fn eight_bit_octets_are_refused_only_on_request() {
    let limits = Limits {
        eight_bit: false,
        ..OPEN
    };
    for step in 1..=9 {
        let (_, outcome, _) = scan(limits, "a\r\n \u{e9}\r\n\n".as_bytes(), step);
        assert_eq!(outcome, Outcome::Fault(Fault::EightBit));
    }
}

#[test]
fn a_mark_is_never_forwarded_before_it_is_understood() {
    let mut body = Body::new(OPEN);
    let mut ring = Ring::new(64);
    assert_eq!(body.scan(b"a\r\n.\r", &mut ring), (5, Outcome::More));
    assert_eq!(ring.front(), b"a\r\n");
    assert_eq!(body.scan(b"\nQUIT\r\n", &mut ring), (1, Outcome::End));
    assert_eq!(ring.front(), b"a\r\n");
}
