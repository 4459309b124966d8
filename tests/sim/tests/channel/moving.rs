//! Directions move to rings, to larger rings, and back.

use super::pair::Pair;
use sim::xen::Limits;
use vmc::{ConnStatistics, FourTuple, Output, Platform, Received, StreamEnd, Tcp};

/// A TCP socket without room, and with nothing to read.
struct NoTcp;

impl Tcp for NoTcp {
    fn send(&mut self, _: &[u8]) -> Result<usize, StreamEnd> {
        Ok(0)
    }

    fn receive(&mut self, _: &mut [u8]) -> Result<Received, StreamEnd> {
        Ok(Received::Nothing)
    }

    fn has_heard_all(&self) -> bool {
        false
    }

    fn close(&mut self) {}

    fn abort(&mut self) {}
}

fn conn_statistics(pair: &Pair, at: usize) -> ConnStatistics {
    let conn = pair.conn(at);
    let mut all = pair.guests[at].vmc.report().connections();
    all.find(|(id, _)| *id == conn).expect("tracked").1
}

#[test]
fn the_first_write_goes_to_a_ring() {
    let mut pair = Pair::linked();
    assert_eq!(pair.write(0, b"hello"), Ok(5));
    assert_eq!(pair.sent_by_tcp(0), 0);
    assert_eq!(
        pair.read(1, 10),
        Ok(Received::Nothing),
        "SWITCH has not come"
    );
    pair.run();
    assert!(
        pair.take_outputs(1)
            .contains(&Output::Readable(pair.conn(1)))
    );
    assert_eq!(pair.read_all(1).0, b"hello");
    assert!(conn_statistics(&pair, 0).sends_by_ring);
}

#[test]
fn bytes_sent_by_tcp_are_read_first() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.write(0, b"by TCP, "), Ok(8));
    pair.greet(0);
    pair.run();
    assert_eq!(pair.write(0, b"by ring"), Ok(7));
    pair.run();
    assert_eq!(pair.sent_by_tcp(0), 8);
    assert_eq!(pair.read_all(1).0, b"by TCP, by ring");
}

#[test]
fn many_bytes_grow_the_ring_and_arrive_in_order() {
    let mut pair = Pair::linked();
    let got = pair.pump(0, 0, 1 << 20);
    assert!(got == Pair::pattern(0, 1 << 20));
    assert_eq!(pair.guests[0].vmc.statistics().growths, 1);
    assert_eq!(pair.sent_by_tcp(0), 0);
    let back = pair.pump(1, 0, 100_000);
    assert!(back == Pair::pattern(0, 100_000));
}

#[test]
fn rings_are_used_again() {
    let mut pair = Pair::linked();
    for _ in 0..50 {
        assert_eq!(pair.pump(0, 0, 100).len(), 100);
        pair.finish(0);
        pair.run();
        assert!(pair.read_all(1).1);
        pair.run();
        assert!(pair.is_closed(0));
        pair.reconnect();
    }
    let link = pair.link(0);
    assert_eq!(link.rings_granted, 1);
    assert_eq!(link.rings_reused, 49);
}

#[test]
fn an_unknown_connection_stays_on_tcp() {
    let mut pair = Pair::linked();
    let conn = pair.conn(1);
    pair.guests[1].vmc.forget(conn);
    assert_eq!(pair.write(0, b"one"), Ok(3));
    assert_eq!(pair.write(0, b"two"), Ok(3));
    pair.run();
    // CONFIRM has brought everything back.
    assert_eq!(pair.sent_by_tcp(0), 6);
    assert_eq!(pair.write(0, b"three"), Ok(5));
    assert_eq!(pair.sent_by_tcp(0), 11);
    assert_eq!(pair.guests[0].vmc.statistics().refused.no_connection, 1);
}

#[test]
fn a_ring_that_cannot_be_mapped_is_refused_and_given_back() {
    let mut pair = Pair::linked();
    pair.refuse_maps(1);
    let got = pair.pump(0, 0, 5000);
    assert!(got == Pair::pattern(0, 5000));
    assert_eq!(pair.guests[0].vmc.statistics().refused.unmapped, 1);
    assert_eq!(pair.holdings().0, 9, "only the link's pages");
}

#[test]
fn a_larger_ring_that_cannot_be_mapped_brings_both_back() {
    let mut pair = Pair::linked();
    assert_eq!(pair.pump(0, 0, 5000).len(), 5000);
    pair.refuse_maps(1);
    let mut all = Pair::pattern(0, 5000);
    let more = pair.pump(0, 5000, 1 << 18);
    all.extend(more);
    assert!(all == Pair::pattern(0, 5000 + (1 << 18)));
    assert_eq!(pair.guests[0].vmc.statistics().fallbacks, 1);
    assert!(pair.sent_by_tcp(0) > 0);
}

#[test]
fn an_idle_ring_makes_room_when_the_guest_has_none() {
    let mut pair = Pair::linked();
    assert_eq!(pair.pump(0, 0, 100).len(), 100);
    // The peer does not know the second connection, so its ring is idle at once.
    let address = pair.guests[1].address;
    let guest = &mut pair.guests[0];
    let tuple = FourTuple {
        local: (guest.address, 7).into(),
        remote: (address, 8).into(),
    };
    let other = guest.vmc.track(tuple, 0, 0, false).expect("room");
    assert_eq!(guest.vmc.write(other, &mut NoTcp, b"refused"), Ok(7));
    pair.run();
    let before = pair.guests[0].vmc.statistics().granted_pages;
    let domid = pair.guests[0].vmc.platform().domid();
    let limits = Limits {
        grants: before,
        ..Limits::NONE
    };
    pair.host.borrow_mut().limit(domid, limits);
    // The first one would grow, finds no room, and the idle ring is taken back.
    let got = pair.pump(0, 100, 1 << 18);
    assert!(got == Pair::pattern(100, 1 << 18));
    let after = pair.guests[0].vmc.statistics();
    assert_eq!((after.granted_pages, after.growths), (before - 5, 0));
}

#[test]
fn a_full_ring_blocks_its_own_connection_only_and_wakes_its_writer() {
    let mut pair = Pair::linked();
    let bytes = Pair::pattern(0, 1 << 20);
    let mut sent = 0;
    loop {
        let count = pair.write(0, &bytes[sent..]).expect("fine");
        if count == 0 {
            break;
        }
        sent += count;
    }
    // 16 KiB, then 64 KiB if the first ring was full often enough.
    assert!(sent >= 16 * 1024);
    pair.run();
    pair.take_outputs(0);
    assert_eq!(pair.guests[0].vmc.unconsumed(pair.conn(0)), sent as u64);
    assert_eq!(pair.read_all(1).0, bytes[..sent]);
    pair.run();
    let writable = Output::Writable(pair.conn(0));
    assert!(pair.take_outputs(0).contains(&writable));
    assert_eq!(pair.guests[0].vmc.unconsumed(pair.conn(0)), 0);
}

#[test]
fn a_batch_is_announced_once_and_a_reader_that_is_awake_never() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    let before = pair.notifications();
    for _ in 0..100 {
        assert_eq!(pair.write(0, b"0123456789"), Ok(10));
    }
    pair.guests[0].vmc.flush();
    assert_eq!(pair.notifications(), before + 1);
    // The reader has not announced that it waits.
    assert_eq!(pair.write(0, b"0123456789"), Ok(10));
    pair.guests[0].vmc.flush();
    assert_eq!(pair.notifications(), before + 1);
}
