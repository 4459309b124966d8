//! Handshakes with a backend that comes up, dawdles, closes or vanishes.

use alloc::format;
use core::{pin::pin, task::Poll, time::Duration};

use super::{BusError, Frontend, State};
use crate::xenstore::{StoreError, fake::Harness};

const BACKEND: &str = "/local/domain/0/backend/vif/7/0";

/// Prepares vif 0 as libxl does.
fn with_vif() -> Harness {
    let mut harness = Harness::new();
    harness.server.put_owned_by(0, BACKEND, "");
    set_backend(&mut harness, State::Initialising);
    harness.server.put("device/vif/0", "");
    harness
        .server
        .put_owned_by(0, "device/vif/0/backend", BACKEND);
    harness
        .server
        .put_owned_by(0, "device/vif/0/backend-id", "0");
    harness
}

fn set_backend(harness: &mut Harness, state: State) {
    let node = format!("{BACKEND}/state");
    harness
        .server
        .put_owned_by(0, &node, &format!("{}", state.number()));
}

fn open(harness: &mut Harness) -> Result<Frontend, BusError> {
    let store = harness.store.clone();
    harness.run(Frontend::open(&store, "vif", 0))
}

#[test]
fn a_missing_device_says_what_to_configure() {
    let mut harness = Harness::new();
    let error = open(&mut harness).err().expect("no such device");
    assert_eq!(
        format!("{error}"),
        "no vif: add vif=[...] to the domain's configuration"
    );
    let store = harness.store.clone();
    let error = harness.run(Frontend::open(&store, "vbd", 1)).err();
    assert_eq!(
        format!("{}", error.expect("no such device")),
        "no vbd number 1: add disk=[...] to the domain's configuration"
    );
}

#[test]
fn an_impossible_domid_is_refused() {
    let mut harness = with_vif();
    harness.server.put("device/vif/0/backend-id", "65536");
    let error = open(&mut harness).err();
    assert!(
        matches!(error, Some(BusError::Malformed { .. })),
        "{error:?}"
    );
}

#[test]
fn the_handshake_goes_through() {
    let mut harness = with_vif();
    let mut frontend = open(&mut harness).expect("open");
    assert_eq!(frontend.backend_domid(), 0);
    assert_eq!(frontend.backend_path(), BACKEND);
    assert_eq!(frontend.path(), "device/vif/0");
    {
        let mut last = State::Unknown;
        let mut arrival = pin!(frontend.arrival(&[State::InitWait], &mut last));
        assert!(harness.settle(arrival.as_mut()).is_pending());
        set_backend(&mut harness, State::InitWait);
        let arrived = harness.settle(arrival.as_mut());
        assert_eq!(arrived, Poll::Ready(Ok(State::InitWait)));
    }
    let keys = [
        ("tx-ring-ref", "8"),
        ("rx-ring-ref", "9"),
        ("request-rx-copy", "1"),
    ];
    harness
        .run(frontend.publish(keys, State::Connected))
        .expect("publish");
    for (key, value) in keys {
        let node = format!("device/vif/0/{key}");
        assert_eq!(harness.server.get(&node), Some(value));
    }
    assert_eq!(harness.server.get("device/vif/0/state"), Some("4"));
    set_backend(&mut harness, State::Connected);
    assert_eq!(
        harness.run(frontend.backend_changed()),
        Ok(State::Connected)
    );
    let feature = format!("{BACKEND}/feature-sg");
    harness.server.put_owned_by(0, &feature, "1");
    let feature = harness.run(frontend.read_backend("feature-sg"));
    assert_eq!(feature, Ok(Some("1".into())));
    assert_eq!(harness.run(frontend.read_backend("feature-x")), Ok(None));
    assert_eq!(harness.run(frontend.read("mac")), Ok(None));
}

#[test]
fn a_key_that_cannot_be_written_takes_the_state_back() {
    let mut harness = with_vif();
    let frontend = open(&mut harness).expect("open");
    // "backend" is dom0's.
    let keys = [("tx-ring-ref", "8"), ("backend", "elsewhere")];
    let outcome = harness.run(frontend.publish(keys, State::Connected));
    let path = "device/vif/0/backend".into();
    let error = StoreError::Denied;
    assert_eq!(outcome, Err(BusError::Store { path, error }));
    assert_eq!(harness.server.get("device/vif/0/state"), Some("5"));
}

#[test]
fn a_backend_that_closes_or_vanishes_ends_the_wait_at_once() {
    for (end, expected) in [
        (Some(State::Closing), BusError::BackendClosing),
        (Some(State::Closed), BusError::BackendClosing),
        (None, BusError::BackendGone),
    ] {
        let mut harness = with_vif();
        let mut frontend = open(&mut harness).expect("open");
        let mut last = State::Unknown;
        let mut arrival = pin!(frontend.arrival(&[State::Connected], &mut last));
        assert!(harness.settle(arrival.as_mut()).is_pending());
        match end {
            Some(state) => set_backend(&mut harness, state),
            None => harness.server.remove(BACKEND),
        }
        assert_eq!(harness.settle(arrival.as_mut()), Poll::Ready(Err(expected)));
    }
}

#[test]
fn closing_can_be_what_is_waited_for() {
    let mut harness = with_vif();
    let mut frontend = open(&mut harness).expect("open");
    set_backend(&mut harness, State::Closed);
    let mut last = State::Unknown;
    let wanted = [State::Closing, State::Closed];
    let arrived = harness.run(frontend.arrival(&wanted, &mut last));
    assert_eq!(arrived, Ok(State::Closed));
    harness.server.remove(BACKEND);
    let arrived = harness.run(frontend.arrival(&[State::Unknown], &mut last));
    assert_eq!(arrived, Ok(State::Unknown));
}

#[test]
fn a_meaningless_state_is_an_error() {
    let mut harness = with_vif();
    let mut frontend = open(&mut harness).expect("open");
    for value in ["9", "-1", "connected", ""] {
        harness
            .server
            .put_owned_by(0, &format!("{BACKEND}/state"), value);
        let mut last = State::Unknown;
        let outcome = harness.run(frontend.arrival(&[State::Connected], &mut last));
        assert!(
            matches!(outcome, Err(BusError::Malformed { .. })),
            "{outcome:?}"
        );
    }
}

#[test]
fn every_state_survives_its_number() {
    for number in 0..9 {
        let state = State::parse(&format!("{number}")).expect("a state");
        assert_eq!(state.number(), number);
    }
    let late = BusError::Timeout {
        last: State::InitWait,
        waited: Duration::from_secs(5),
    };
    assert_eq!(
        format!("{late}"),
        "the device's backend is still InitWait after 5000 ms"
    );
}

#[test]
fn devices_are_listed_by_number() {
    let mut harness = Harness::new();
    let store = harness.store.clone();
    assert_eq!(harness.run(Frontend::indices(&store, "vif")), Ok([].into()));
    for node in ["device/vif/10/state", "device/vif/2/state", "device/vif/x"] {
        harness.server.put(node, "1");
    }
    let indices = harness.run(Frontend::indices(&store, "vif"));
    assert_eq!(indices, Ok([2, 10].into()));
}

#[test]
fn a_backend_that_leaves_serves_nobody() {
    let mut harness = with_vif();
    let frontend = open(&mut harness).expect("open");
    for (state, online, expected) in [
        (State::Initialising, "1", true),
        (State::InitWait, "1", true),
        (State::Connected, "1", true),
        (State::Closing, "1", false),
        (State::Closed, "0", false),
        (State::Closed, "1", true),
    ] {
        set_backend(&mut harness, state);
        let node = format!("{BACKEND}/online");
        harness.server.put_owned_by(0, &node, online);
        let served = harness.run(frontend.is_served());
        assert_eq!(served, Ok(expected), "{state} {online}");
    }
    harness.server.remove(BACKEND);
    assert_eq!(harness.run(frontend.is_served()), Ok(false));
}

#[test]
fn beginning_again_waits_out_the_closing_of_what_was() {
    let mut harness = with_vif();
    let mut frontend = open(&mut harness).expect("open");
    set_backend(&mut harness, State::Connected);
    let mut last = State::Unknown;
    let mut arrival = pin!(frontend.arrival_after_closing(&mut last));
    for state in [State::Connected, State::Closing, State::Closed] {
        set_backend(&mut harness, state);
        assert!(harness.settle(arrival.as_mut()).is_pending(), "{state}");
    }
    set_backend(&mut harness, State::InitWait);
    assert_eq!(harness.settle(arrival.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn a_backend_whose_directory_may_not_be_read_any_more_is_gone() {
    let mut harness = with_vif();
    let mut frontend = open(&mut harness).expect("open");
    set_backend(&mut harness, State::Connected);
    assert_eq!(
        harness.run(frontend.backend_changed()),
        Ok(State::Connected)
    );
    harness.server.hide(&format!("{BACKEND}/state"));
    assert_eq!(harness.run(frontend.backend_changed()), Ok(State::Unknown));
    assert_eq!(harness.run(frontend.is_served()), Ok(false));
}
