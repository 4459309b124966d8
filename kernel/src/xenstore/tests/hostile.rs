//! A xenstored that breaks the protocol: errors, never a panic, and bounded
//! memory.

use alloc::{string::String, vec::Vec};
use core::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use xen_sys::abi;

use crate::{
    time::Instant,
    xenstore::{
        ProtocolError, StoreError,
        fake::{Harness, Woken, raw_message},
        requests::REQUEST_DEADLINE,
        session::Session,
        wire::Operation,
    },
};

/// Makes one request, with id 1, and sends these bytes instead of a reply.
fn answered_with(bytes: &[u8]) -> (Harness, Result<String, StoreError>) {
    let mut harness = Harness::new();
    harness.server.silent = true;
    harness.server.inject(bytes);
    let store = harness.store.clone();
    let mut read = pin!(store.read("key"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut context).is_pending());
    let outcome = harness.run(read.as_mut());
    (harness, outcome)
}

fn protocol(error: ProtocolError) -> Result<String, StoreError> {
    Err(StoreError::Protocol(error))
}

#[test]
fn a_reply_of_the_wrong_type_fails_its_request_alone() {
    let (mut harness, outcome) = answered_with(&raw_message(abi::XS_WRITE, 1, 3, b"OK\0"));
    assert_eq!(outcome, protocol(ProtocolError::WrongType));
    assert_eq!(harness.store.statistics().malformed, 1);
    harness.server.silent = false;
    let store = harness.store.clone();
    assert_eq!(harness.run(store.read("key")), Err(StoreError::NotFound));
}

#[test]
fn errors_are_told_by_name() {
    let cases: [(&[u8], StoreError); 6] = [
        (b"ENOENT\0", StoreError::NotFound),
        (b"EACCES\0", StoreError::Denied),
        (b"EQUOTA\0", StoreError::Quota),
        (b"E2BIG", StoreError::TooLong),
        (b"", ProtocolError::BadReply.into()),
        (b"\x1b[31m\0", ProtocolError::BadReply.into()),
    ];
    for (payload, expected) in cases {
        let reply = raw_message(abi::XS_ERROR, 1, payload.len() as u32, payload);
        assert_eq!(answered_with(&reply).1, Err(expected));
    }
    let (_, outcome) = answered_with(&raw_message(
        abi::XS_ERROR,
        1,
        23,
        b"EALTOGETHERUNHEARDOF00\0",
    ));
    match outcome {
        Err(StoreError::Other(name)) => assert_eq!(name.as_str(), "EALTOGETHERUNHE"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_oversized_message_ends_the_connection_for_everybody() {
    let (mut harness, outcome) = answered_with(&raw_message(abi::XS_READ, 1, 4097, b""));
    assert_eq!(outcome, protocol(ProtocolError::Oversized));
    let store = harness.store.clone();
    assert_eq!(
        harness.run(store.read("key")),
        protocol(ProtocolError::Oversized)
    );
}

#[test]
fn impossible_indices_end_the_connection_and_wake_watches() {
    let minus = |by: u32| by.wrapping_neg();
    for (consumer, producer) in [(1, 0), (minus(1025), 0), (0, 1025), (0, minus(1))] {
        let mut harness = Harness::new();
        let store = harness.store.clone();
        let mut watch = harness.run(store.watch("key")).expect("watch");
        harness.run(watch.next()).expect("the first event");
        let (waker, woken) = Woken::new();
        let mut context = Context::from_waker(&waker);
        let mut next = pin!(watch.next());
        assert!(next.as_mut().poll(&mut context).is_pending());
        let mut read = pin!(store.read("key"));
        assert!(
            read.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        harness.page.shift(consumer, producer);
        let corrupt = StoreError::Protocol(ProtocolError::RingCorrupt);
        assert_eq!(harness.run(read.as_mut()), Err(corrupt.clone()));
        assert!(woken.take());
        assert_eq!(harness.run(next.as_mut()), Err(corrupt));
    }
}

/// Makes a message of a lying xenstored.
fn lie() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(b"OK\0".to_vec()),
        Just(b"1\0".to_vec()),
        Just(b"key\x001\0".to_vec()),
        "[a-z/0-9\0]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..60),
    ];
    let kind = prop_oneof![0_u32..24, any::<u32>()];
    (kind, 0_u32..20, payload)
        .prop_map(|(kind, id, payload)| raw_message(kind, id, payload.len() as u32, &payload))
}

proptest! {
    /// Well-framed nonsense with likely ids: every request ends in time and
    /// leaves nothing behind.
    #[test]
    fn nonsense_never_hangs_or_panics(lies in prop::collection::vec(lie(), 0..60)) {
        let mut session = Session::default();
        let mut now = Instant::from_nanos(0);
        let token = session.add_watch("key").expect("a first watch");
        let operations = [
            Operation::Read,
            Operation::Directory,
            Operation::TransactionStart,
            Operation::GetPermissions,
            Operation::Write,
        ];
        let ids: Vec<u32> = (0..15)
            .map(|at| session.submit(operations[at % 5], 0, &[b"key\0"]).expect("room"))
            .collect();
        session.advance(now);
        while let Some(bytes) = session.outgoing() {
            let length = bytes.len();
            session.sent(length);
        }
        for lie in &lies {
            session.receive(lie);
        }
        now = now + REQUEST_DEADLINE;
        session.advance(now);
        for id in ids {
            prop_assert!(session.poll_reply(id, Waker::noop()).is_ready());
        }
        let mut fired = 0;
        while let Poll::Ready(Ok(_)) = session.poll_watch(token, Waker::noop()) {
            fired += 1;
        }
        prop_assert!(fired <= 16);
    }

    /// Any bytes, in any pieces.
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..9000), piece in 1_usize..2000) {
        let mut session = Session::default();
        for bytes in noise.chunks(piece) {
            session.receive(bytes);
        }
        let _ = session.statistics();
    }
}
