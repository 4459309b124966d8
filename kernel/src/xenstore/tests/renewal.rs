//! The guest becomes another domain, with another xenstored that knows nothing of it.

use core::pin::pin;

use xen_sys::abi;

use crate::xenstore::{
    ProtocolError, StoreError,
    fake::{Harness, raw_message},
};

#[test]
fn what_was_not_answered_is_asked_again() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.server.silent = true;
    let mut first = pin!(store.read("name"));
    let mut second = pin!(store.write("answer", "42"));
    assert!(harness.settle(first.as_mut()).is_pending());
    assert!(harness.settle(second.as_mut()).is_pending());
    harness.migrate();
    harness.server.put("name", "elsewhere");
    assert_eq!(harness.run(first).as_deref(), Ok("elsewhere"));
    assert_eq!(harness.run(second), Ok(()));
    assert_eq!(harness.server.get("answer"), Some("42"));
}

#[test]
fn watches_are_set_again_and_fire_once() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut one = harness.run(store.watch("one")).expect("watch");
    let mut two = harness.run(store.watch("two")).expect("watch");
    let dropped = harness.run(store.watch("three")).expect("watch");
    for watch in [&mut one, &mut two] {
        harness.run(watch.next()).expect("the first event");
    }
    drop(dropped);
    harness.exchange();
    harness.migrate();
    assert_eq!(harness.run(one.next()).as_deref(), Ok("one"));
    assert_eq!(harness.run(two.next()).as_deref(), Ok("two"));
    let set = |kind: &&u32| **kind == abi::XS_WATCH;
    assert_eq!(harness.server.served.iter().filter(set).count(), 2);
    harness.server.put("one", "changed");
    assert_eq!(harness.run(one.next()).as_deref(), Ok("one"));
}

#[test]
fn a_watch_that_is_being_set_comes_up_in_the_new_domain() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.server.silent = true;
    let mut watching = pin!(store.watch("one"));
    assert!(harness.settle(watching.as_mut()).is_pending());
    harness.migrate();
    let mut watch = harness.run(watching).expect("watch");
    assert_eq!(harness.run(watch.next()).as_deref(), Ok("one"));
}

#[test]
fn a_transaction_begins_again_from_its_beginning() {
    repeated_after_silence_on(abi::XS_WRITE);
}

#[test]
fn a_commit_that_was_not_answered_is_repeated_with_its_work() {
    repeated_after_silence_on(abi::XS_TRANSACTION_END);
}

/// The old xenstored does not answer a request of this type; the new one does.
fn repeated_after_silence_on(kind: u32) {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut attempts = 0;
    {
        let mut work = pin!(store.transaction(async |transaction| {
            attempts += 1;
            transaction.write("a", "1").await?;
            transaction.write("b", "2").await
        }));
        harness.server.silent_on = Some(kind);
        assert!(harness.settle(work.as_mut()).is_pending());
        harness.migrate();
        assert_eq!(harness.run(work), Ok(()));
    }
    assert_eq!(attempts, 2);
    assert_eq!(harness.server.get("a"), Some("1"));
    assert_eq!(harness.server.get("b"), Some("2"));
    assert_eq!(harness.server.transaction_count(), 0);
}

#[test]
fn a_stale_transaction_fails_and_leaves_nothing_behind() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let transaction = harness.run(store.begin()).expect("begin");
    harness.migrate();
    let outcome = harness.run(transaction.write("a", "1"));
    assert_eq!(outcome, Err(StoreError::Again));
    drop(transaction);
    harness.exchange();
    assert_eq!(harness.server.served, [], "the new xenstored heard of it");
}

#[test]
fn a_held_connection_sends_nothing_and_is_quiet() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.server.put("name", "here");
    assert!(harness.is_quiet());
    harness.hold();
    let mut read = pin!(store.read("name"));
    assert!(harness.settle(read.as_mut()).is_pending());
    assert!(
        harness.is_quiet(),
        "a request that only waits does not count"
    );
    assert_eq!(harness.server.served, []);
    harness.release();
    assert_eq!(harness.run(read).as_deref(), Ok("here"));
}

#[test]
fn a_request_in_flight_is_not_quiet() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.server.silent = true;
    let mut read = pin!(store.read("name"));
    assert!(harness.settle(read.as_mut()).is_pending());
    harness.hold();
    assert!(!harness.is_quiet());
}

#[test]
fn half_a_message_of_the_old_xenstored_does_no_harm() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut watch = harness.run(store.watch("one")).expect("watch");
    harness.run(watch.next()).expect("the first event");
    // An event of which only a part arrived before the suspend.
    harness.server.chunk = 7;
    harness.server.put("one", "changed");
    harness.server.step();
    harness.pump();
    harness.migrate();
    assert_eq!(harness.run(watch.next()).as_deref(), Ok("one"));
    assert_eq!(harness.run(store.write("a", "1")), Ok(()));
}

#[test]
fn a_connection_that_was_given_up_works_in_a_new_domain() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut watch = harness.run(store.watch("one")).expect("watch");
    harness.run(watch.next()).expect("the first event");
    // A message that is longer than any.
    let header = raw_message(abi::XS_READ, 1, 5000, b"");
    harness.server.inject(&header);
    harness.exchange();
    let error = StoreError::Protocol(ProtocolError::Oversized);
    assert_eq!(harness.run(store.read("name")), Err(error.clone()));
    assert_eq!(harness.run(watch.next()), Err(error));
    harness.migrate();
    harness.server.put("name", "elsewhere");
    assert_eq!(harness.run(store.read("name")).as_deref(), Ok("elsewhere"));
    assert_eq!(harness.run(watch.next()).as_deref(), Ok("one"));
}
