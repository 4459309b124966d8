//! Transactions: all or nothing, conflicts, none left open.

use alloc::format;
use core::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use xen_sys::abi;

use crate::xenstore::{
    StoreError,
    fake::{Harness, raw_message},
    requests::{LATE_REPLY_LIFE, REQUEST_DEADLINE},
};

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let transaction = harness.run(store.begin()).expect("begin");
    harness.run(transaction.write("a", "1")).expect("write");
    harness.run(transaction.write("b", "2")).expect("write");
    assert_eq!(harness.server.get("a"), None);
    assert_eq!(harness.run(transaction.read("a")).as_deref(), Ok("1"));
    harness.run(transaction.commit()).expect("commit");
    assert_eq!(harness.server.get("a"), Some("1"));
    assert_eq!(harness.server.get("b"), Some("2"));
    assert_eq!(harness.server.transaction_count(), 0);
}

#[test]
fn a_dropped_transaction_is_discarded() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let transaction = harness.run(store.begin()).expect("begin");
    harness.run(transaction.write("a", "1")).expect("write");
    drop(transaction);
    harness.exchange();
    assert_eq!(harness.server.get("a"), None);
    assert_eq!(harness.server.transaction_count(), 0);
    assert_eq!(harness.store.statistics(), Default::default());
}

#[test]
fn a_conflict_repeats_the_work_with_fresh_values() {
    let mut harness = Harness::new();
    harness.server.put("count", "1");
    let store = harness.store.clone();
    let mut attempts = 0;
    {
        let mut work = pin!(store.transaction(async |transaction| {
            attempts += 1;
            let count: u32 = transaction.read("count").await?.parse().expect("number");
            if attempts == 1 {
                // Another change from outside, in the middle of the
                // transaction.
                store.write("count", "10").await?;
            }
            transaction.write("count", format!("{}", count + 1)).await
        }));
        assert_eq!(harness.run(work.as_mut()), Ok(()));
    }
    assert_eq!(attempts, 2);
    assert_eq!(harness.server.get("count"), Some("11"));
    assert_eq!(harness.server.transaction_count(), 0);
}

#[test]
fn conflicts_without_end_are_given_up() {
    let mut harness = Harness::new();
    harness.server.conflicts = usize::MAX;
    let store = harness.store.clone();
    let outcome = harness.run(store.transaction(async |t| t.write("a", "1").await));
    assert_eq!(outcome, Err(StoreError::Again));
    let commits = |kind: &&u32| **kind == abi::XS_TRANSACTION_END;
    assert_eq!(harness.server.served.iter().filter(commits).count(), 32);
    assert_eq!(harness.server.get("a"), None);
}

#[test]
fn an_error_in_the_work_discards_it() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let outcome = harness.run(store.transaction(async |t| {
        t.write("a", "1").await?;
        t.read("missing").await
    }));
    assert_eq!(outcome, Err(StoreError::NotFound));
    assert_eq!(harness.server.get("a"), None);
    assert_eq!(harness.server.transaction_count(), 0);
}

#[test]
fn a_transaction_whose_begin_was_given_up_is_closed_when_it_opens() {
    for reply_was_there in [true, false] {
        let mut harness = Harness::new();
        harness.server.silent = true;
        let store = harness.store.clone();
        // The reply to request 1.
        let reply = raw_message(abi::XS_TRANSACTION_START, 1, 2, b"5\0");
        {
            let mut begin = pin!(store.begin());
            let mut context = Context::from_waker(Waker::noop());
            assert!(begin.as_mut().poll(&mut context).is_pending());
            if reply_was_there {
                harness.server.inject(&reply);
            }
            harness.exchange();
        }
        if !reply_was_there {
            harness.server.inject(&reply);
        }
        harness.exchange();
        let served = [abi::XS_TRANSACTION_START, abi::XS_TRANSACTION_END];
        assert_eq!(harness.server.served, served);
    }
}

#[test]
fn a_commit_given_up_before_it_was_sent_becomes_a_discard() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    let transaction = harness.run(store.begin()).expect("begin");
    harness.run(transaction.write("a", "1")).expect("write");
    {
        let mut commit = pin!(transaction.commit());
        let mut context = Context::from_waker(Waker::noop());
        assert!(commit.as_mut().poll(&mut context).is_pending());
    }
    harness.exchange();
    assert_eq!(harness.server.get("a"), None);
    assert_eq!(harness.server.transaction_count(), 0);
}

#[test]
fn a_transaction_survives_a_pause_of_xenstored() {
    let mut harness = Harness::new();
    harness.server.silent = true;
    let store = harness.store.clone();
    assert_eq!(harness.run(store.begin()).err(), Some(StoreError::Timeout));
    harness.pass(REQUEST_DEADLINE);
    harness.pass(LATE_REPLY_LIFE);
    harness.server.silent = false;
    let outcome = harness.run(store.transaction(async |t| t.write("a", "1").await));
    assert_eq!(outcome, Ok(()));
    harness.pass(Duration::from_secs(1));
    assert_eq!(harness.server.get("a"), Some("1"));
}
