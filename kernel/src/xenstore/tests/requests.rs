//! Reads, writes, listings, permissions, and many requests at once.

use alloc::{format, vec, vec::Vec};
use core::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::prelude::*;

use crate::xenstore::{
    Access, Permission, StoreError,
    fake::{GUEST, Harness},
    requests::{LATE_REPLY_LIFE, MAX_IN_FLIGHT, MAX_WAITING, REQUEST_DEADLINE},
};

#[test]
fn writes_and_reads_back() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.run(async {
        store.write("data/name", "relay").await.expect("write");
        assert_eq!(store.read("data/name").await.as_deref(), Ok("relay"));
        let path = format!("/local/domain/{GUEST}/data/name");
        assert_eq!(store.read(&path).await.as_deref(), Ok("relay"));
        store.write("data/empty", "").await.expect("write");
        assert_eq!(store.read("data/empty").await.as_deref(), Ok(""));
        assert_eq!(
            store.list("data").await,
            Ok(vec!["empty".into(), "name".into()])
        );
        assert_eq!(store.list("data/empty").await, Ok(vec![]));
        store.remove("data/name").await.expect("remove");
        assert_eq!(store.read("data/name").await, Err(StoreError::NotFound));
    });
    assert_eq!(harness.server.get("data/empty"), Some(""));
    assert_eq!(harness.store.statistics(), Default::default());
}

#[test]
fn a_value_may_be_any_bytes() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.run(async {
        store.write("raw", b"\0\xff\0").await.expect("write");
        assert_eq!(
            store.read_bytes("raw").await.as_deref(),
            Ok(&b"\0\xff\0"[..])
        );
        assert_eq!(store.read("raw").await, Err(StoreError::NotText));
    });
}

#[test]
fn permissions_are_kept_and_enforced() {
    let mut harness = Harness::new();
    harness.server.put_owned_by(0, "control/feature", "1");
    let store = harness.store.clone();
    harness.run(async {
        assert_eq!(
            store.write("control/feature", "2").await,
            Err(StoreError::Denied)
        );
        store.write("mine", "x").await.expect("write");
        let wanted = [
            Permission {
                domid: GUEST,
                access: Access::None,
            },
            Permission {
                domid: 0,
                access: Access::Both,
            },
            Permission {
                domid: 3,
                access: Access::Read,
            },
            Permission {
                domid: 65535,
                access: Access::Write,
            },
        ];
        store.set_permissions("mine", &wanted).await.expect("set");
        assert_eq!(store.permissions("mine").await, Ok(wanted.to_vec()));
        assert_eq!(
            store.set_permissions("mine", &[]).await,
            Err(StoreError::Invalid)
        );
        assert_eq!(
            store.set_permissions("control/feature", &wanted).await,
            Err(StoreError::Denied)
        );
    });
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_sent() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.run(async {
        let longest = vec![b'v'; 4095 - "p".len()];
        store.write("p", &longest).await.expect("fits exactly");
        assert_eq!(store.read_bytes("p").await.as_deref(), Ok(&longest[..]));
        let long = vec![b'v'; 4096 - "p".len()];
        assert_eq!(store.write("p", &long).await, Err(StoreError::TooLong));
        let path = "x".repeat(2049);
        assert_eq!(store.read(&path).await, Err(StoreError::TooLong));
        assert_eq!(store.read("").await, Err(StoreError::Invalid));
        assert_eq!(store.read("a\0b").await, Err(StoreError::Invalid));
        assert_eq!(store.watch("a\0b").await.err(), Some(StoreError::Invalid));
    });
}

#[test]
fn an_unanswered_request_times_out_and_its_late_reply_hurts_nobody() {
    let mut harness = Harness::new();
    harness.server.put("key", "old");
    harness.server.silent = true;
    let store = harness.store.clone();
    let begun = harness.now;
    assert_eq!(harness.run(store.read("key")), Err(StoreError::Timeout));
    assert_eq!(harness.now, begun + REQUEST_DEADLINE);
    harness.server.silent = false;
    // The reply to the first request, id 1, arrives after all.
    let late = crate::xenstore::fake::raw_message(xen_sys::abi::XS_READ, 1, 4, b"late");
    harness.server.inject(&late);
    assert_eq!(harness.run(store.read("key")).as_deref(), Ok("old"));
    let statistics = harness.store.statistics();
    assert_eq!((statistics.timeouts, statistics.late), (1, 1));
    // It is recognised only once.
    harness.server.inject(&late);
    harness.exchange();
    assert_eq!(harness.store.statistics().unmatched, 1);
}

#[test]
fn requests_queue_up_to_a_bound_and_a_silent_xenstored_blocks_only_for_a_while() {
    let mut harness = Harness::new();
    harness.server.put("key", "value");
    harness.server.silent = true;
    let store = harness.store.clone();
    let mut context = Context::from_waker(Waker::noop());
    let mut reads: Vec<_> = (0..MAX_WAITING)
        .map(|_| alloc::boxed::Box::pin(store.read("key")))
        .collect();
    for read in &mut reads {
        assert!(read.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(harness.run(store.read("key")), Err(StoreError::Busy));
    harness.exchange();
    assert_eq!(harness.server.served.len(), MAX_IN_FLIGHT);
    harness.pass(REQUEST_DEADLINE);
    for read in &mut reads {
        assert_eq!(
            read.as_mut().poll(&mut context),
            Poll::Ready(Err(StoreError::Timeout))
        );
    }
    // A request that was sent counts as in flight until it is forgotten.
    harness.server.silent = false;
    assert_eq!(harness.run(store.read("key")), Err(StoreError::Timeout));
    harness.pass(LATE_REPLY_LIFE);
    assert_eq!(harness.run(store.read("key")).as_deref(), Ok("value"));
    assert_eq!(harness.server.served.len(), MAX_IN_FLIGHT + 1);
}

#[test]
fn a_dropped_request_that_was_not_sent_never_is() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    {
        let mut write = pin!(store.write("key", "value"));
        let mut context = Context::from_waker(Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
    }
    harness.exchange();
    assert_eq!(harness.server.served, []);
    assert_eq!(harness.server.get("key"), None);
}

#[test]
fn a_request_dropped_after_it_was_sent_leaves_nothing_behind() {
    let mut harness = Harness::new();
    harness.server.silent = true;
    let store = harness.store.clone();
    {
        let mut read = pin!(store.read("key"));
        assert!(harness.settle(read.as_mut()).is_pending());
    }
    harness.pass(Duration::from_secs(1));
    harness.pass(LATE_REPLY_LIFE);
    harness.server.silent = false;
    assert_eq!(harness.run(store.read("key")), Err(StoreError::NotFound));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the bytes are split on the rings, and wherever the indices
    /// start, every request gets its own reply.
    #[test]
    fn each_of_many_requests_gets_its_own_reply(
        start in any::<u32>(),
        chunk in 1_usize..1500,
        lengths in prop::collection::vec(0_usize..3000, 1..40),
    ) {
        let mut harness = Harness::starting_at(start);
        harness.server.chunk = chunk;
        let store = harness.store.clone();
        let values: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(at, length)| vec![at as u8; *length])
            .collect();
        let mut context = Context::from_waker(Waker::noop());
        let mut tasks: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let store = store.clone();
                alloc::boxed::Box::pin(async move {
                    let path = format!("values/{at}");
                    store.write(&path, value).await?;
                    store.read_bytes(&path).await
                })
            })
            .collect();
        let mut done = vec![false; tasks.len()];
        for _ in 0..4 {
            for (at, task) in tasks.iter_mut().enumerate() {
                if !done[at] && let Poll::Ready(result) = task.as_mut().poll(&mut context) {
                    prop_assert_eq!(result.as_ref(), Ok(&values[at]));
                    done[at] = true;
                }
            }
            harness.exchange();
        }
        prop_assert!(done.iter().all(|done| *done));
        prop_assert_eq!(harness.store.statistics(), Default::default());
    }
}

#[test]
fn the_uuid_is_what_the_node_vm_names() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    harness.run(async {
        assert_eq!(store.uuid().await, Err(StoreError::NotFound));
        for (value, expected) in [
            (
                "/vm/00112233-4455-6677-8899-aabbccddeeFF",
                Ok([
                    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
                    0xdd, 0xee, 0xff,
                ]),
            ),
            ("", Err(StoreError::Invalid)),
            ("/vm/", Err(StoreError::Invalid)),
            (
                "00112233-4455-6677-8899-aabbccddeeff",
                Err(StoreError::Invalid),
            ),
            (
                "/vm/0011223344556677-8899-aabbccddeeff",
                Err(StoreError::Invalid),
            ),
            (
                "/vm/00112233-4455-6677-8899-aabbccddeef",
                Err(StoreError::Invalid),
            ),
            (
                "/vm/00112233-4455-6677-8899-aabbccddeeff0",
                Err(StoreError::Invalid),
            ),
            (
                "/vm/00112233-4455-6677-8899-aabbccdd\u{20ac}f",
                Err(StoreError::Invalid),
            ),
            (
                "/vm/+0112233-4455-6677-8899-aabbccddeeff",
                Err(StoreError::Invalid),
            ),
        ] {
            store.write("vm", value).await.expect("write");
            assert_eq!(store.uuid().await, expected, "{value}");
        }
    });
}
