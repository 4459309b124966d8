//! Watches: the first event, coalescing, bounds, ending.

use alloc::{boxed::Box, format, vec::Vec};
use core::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use xen_sys::abi;

use crate::xenstore::{StoreError, fake::Harness, requests::MAX_WAITING};

#[test]
fn a_watch_fires_at_once_and_then_on_changes_below() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut watch = harness.run(store.watch("device")).expect("watch");
    assert_eq!(harness.run(watch.next()).as_deref(), Ok("device"));
    {
        let mut next = pin!(watch.next());
        assert!(harness.settle(next.as_mut()).is_pending());
        harness.server.put("devices", "no match");
        assert!(harness.settle(next.as_mut()).is_pending());
        harness.server.put("device/vif/0/state", "4");
        assert_eq!(
            harness.run(next.as_mut()).as_deref(),
            Ok("device/vif/0/state")
        );
    }
    harness.server.remove("device");
    assert_eq!(harness.run(watch.next()).as_deref(), Ok("device"));
}

#[test]
fn changes_to_one_path_count_once_and_many_paths_collapse() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut watch = harness.run(store.watch("data")).expect("watch");
    for round in 0..5 {
        harness.server.put("data/a", &format!("{round}"));
        harness.server.put("data/b", &format!("{round}"));
    }
    harness.exchange();
    for expected in ["data", "data/a", "data/b"] {
        assert_eq!(harness.run(watch.next()).as_deref(), Ok(expected));
    }
    assert!(harness.settle(pin!(watch.next())).is_pending());
    for node in 0..100 {
        harness.server.put(&format!("data/{node}"), "");
    }
    harness.exchange();
    let mut fired = Vec::new();
    loop {
        let mut next = pin!(watch.next());
        match harness.settle(next.as_mut()) {
            Poll::Ready(path) => fired.push(path.expect("fires")),
            Poll::Pending => break,
        }
    }
    assert!(fired.len() <= 16, "{fired:?}");
    assert!(fired.contains(&"data".into()), "{fired:?}");
}

#[test]
fn two_watches_of_one_path_both_fire() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut first = harness.run(store.watch("key")).expect("watch");
    let mut second = harness.run(store.watch("key")).expect("watch");
    for watch in [&mut first, &mut second] {
        harness.run(watch.next()).expect("the first event");
    }
    harness.server.put("key", "x");
    for watch in [&mut first, &mut second] {
        assert_eq!(harness.run(watch.next()).as_deref(), Ok("key"));
    }
}

#[test]
fn dropping_a_watch_ends_it() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let watch = harness.run(store.watch("key")).expect("watch");
    assert_eq!(harness.server.watch_count(), 1);
    drop(watch);
    // This event crosses the end of the watch on the way.
    harness.server.put("key", "x");
    harness.exchange();
    assert_eq!(harness.server.watch_count(), 0);
    assert_eq!(harness.store.statistics().unmatched, 1);
}

#[test]
fn the_number_of_watches_is_bounded_and_a_failed_one_frees_its_place() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut watches = Vec::new();
    for _ in 0..64 {
        watches.push(harness.run(store.watch("key")).expect("watch"));
    }
    assert_eq!(
        harness.run(store.watch("key")).err(),
        Some(StoreError::Busy)
    );
    watches.pop();
    harness.server.silent = true;
    assert_eq!(
        harness.run(store.watch("key")).err(),
        Some(StoreError::Timeout)
    );
    harness.server.silent = false;
    watches.push(harness.run(store.watch("key")).expect("watch"));
    drop(watches);
    harness.exchange();
    assert_eq!(harness.run(store.read("key")), Err(StoreError::NotFound));
}

#[test]
fn a_watch_refused_for_want_of_room_in_the_queue_leaves_no_trace() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut context = Context::from_waker(Waker::noop());
    let mut reads: Vec<_> = (0..MAX_WAITING)
        .map(|_| Box::pin(store.read("key")))
        .collect();
    for read in &mut reads {
        assert!(read.as_mut().poll(&mut context).is_pending());
    }
    for _ in 0..100 {
        let mut watch = pin!(store.watch("key"));
        let refused = watch.as_mut().poll(&mut context);
        assert!(matches!(refused, Poll::Ready(Err(StoreError::Busy))));
    }
    drop(reads);
    harness.run(store.watch("key")).expect("watch");
    assert!(!harness.server.served.contains(&abi::XS_UNWATCH));
}

#[test]
fn an_event_outside_of_the_watched_path_reports_the_watched_one() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let mut watch = harness.run(store.watch("key")).expect("watch");
    harness.run(watch.next()).expect("the first event");
    let payload = b"/elsewhere\x001\0";
    let event =
        crate::xenstore::fake::raw_message(abi::XS_WATCH_EVENT, 0, payload.len() as u32, payload);
    harness.server.inject(&event);
    assert_eq!(harness.run(watch.next()).as_deref(), Ok("key"));
    assert_eq!(harness.store.statistics().malformed, 1);
}
