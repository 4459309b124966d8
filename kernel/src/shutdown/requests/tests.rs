//! Requests as the toolstack makes them, including withdrawn ones.

use core::pin::pin;

use super::{Request, Requests};
use crate::xenstore::{StoreError, fake::Harness};

/// Returns a listening guest that has consumed the first, empty event.
fn listening(node: Option<&str>) -> (Harness, Requests) {
    let mut harness = Harness::new();
    for feature in super::FEATURES {
        harness.server.put(feature, "");
    }
    if let Some(value) = node {
        harness.server.put(super::NODE, value);
    }
    let store = harness.store.clone();
    let requests = harness.run(Requests::listen(&store)).expect("listen");
    (harness, requests)
}

#[test]
fn announces_what_it_can_do() {
    let (harness, _requests) = listening(Some(""));
    for feature in super::FEATURES {
        assert_eq!(harness.server.get(feature), Some("1"));
    }
}

#[test]
fn a_refused_announcement_does_no_harm() {
    let mut harness = Harness::new();
    for feature in super::FEATURES {
        harness.server.put_owned_by(0, feature, "");
    }
    harness.server.put(super::NODE, "halt");
    let store = harness.store.clone();
    let mut requests = harness.run(Requests::listen(&store)).expect("listen");
    assert_eq!(harness.run(requests.next()), Ok(Request::Halt));
}

#[test]
fn each_request_is_heard_and_acknowledged() {
    let (mut harness, mut requests) = listening(None);
    for (text, expected) in [
        ("poweroff", Request::Poweroff),
        ("suspend", Request::Suspend),
        ("reboot", Request::Reboot),
        ("reboot", Request::Reboot),
    ] {
        let mut next = pin!(requests.next());
        assert!(harness.settle(next.as_mut()).is_pending());
        harness.server.put(super::NODE, text);
        assert_eq!(harness.run(next.as_mut()), Ok(expected));
        assert_eq!(harness.server.get(super::NODE), Some(""));
    }
}

#[test]
fn unknown_requests_are_acknowledged_and_passed_over() {
    let (mut harness, mut requests) = listening(Some("dance"));
    let mut next = pin!(requests.next());
    assert!(harness.settle(next.as_mut()).is_pending());
    assert_eq!(harness.server.get(super::NODE), Some(""));
    harness.server.put(super::NODE, "poweroff");
    assert_eq!(harness.run(next.as_mut()), Ok(Request::Poweroff));
}

#[test]
fn a_request_withdrawn_in_time_is_not_acted_on() {
    let (mut harness, mut requests) = listening(Some(""));
    let mut next = pin!(requests.next());
    assert!(harness.settle(next.as_mut()).is_pending());
    harness.server.put(super::NODE, "suspend");
    harness.server.put(super::NODE, "");
    assert!(harness.settle(next.as_mut()).is_pending());
    // Withdrawn between the read and the acknowledgement: the commit fails.
    harness.server.conflicts = 1;
    harness.server.conflicting_write = Some((super::NODE, ""));
    harness.server.put(super::NODE, "suspend");
    assert!(harness.settle(next.as_mut()).is_pending());
    assert_eq!(harness.server.get(super::NODE), Some(""));
}

#[test]
fn a_lost_connection_is_an_error() {
    let (mut harness, mut requests) = listening(Some(""));
    let mut next = pin!(requests.next());
    assert!(harness.settle(next.as_mut()).is_pending());
    harness.page.shift(0, 5000);
    harness.exchange();
    let outcome = harness.run(next.as_mut());
    assert!(
        matches!(outcome, Err(StoreError::Protocol(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_request_that_came_while_xenstore_was_silent_is_heard_afterwards() {
    let mut harness = Harness::new();
    harness.server.silent = true;
    harness.server.put(super::NODE, "poweroff");
    let store = harness.store.clone();
    let failed = harness.run(Requests::listen(&store)).err();
    assert_eq!(failed, Some(StoreError::Timeout));
    // What `backoff::persist` does after its pause.
    harness.server.silent = false;
    let mut requests = harness.run(Requests::listen(&store)).expect("listen");
    assert_eq!(harness.run(requests.next()), Ok(Request::Poweroff));
    assert_eq!(harness.server.get(super::NODE), Some(""));
}
