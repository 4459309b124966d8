//! LEAVE: before a migration, and at the end.

use super::pair::Pair;
use vmc::{Cause, LeaveReason, Output, PeerState, Received};

const SECOND: u64 = 1_000_000_000;

fn leave(pair: &mut Pair, at: usize) {
    pair.guests[at].vmc.leave(LeaveReason::Migrating);
}

fn assert_nothing_left(pair: &Pair) {
    assert_eq!(pair.holdings(), (0, 0));
    for guest in &pair.guests {
        assert!(guest.vmc.is_alone());
        let stats = guest.vmc.statistics();
        assert_eq!((stats.granted_pages, stats.mapped_pages), (0, 0));
        assert_eq!(stats.quarantined_pages, 0);
        assert_eq!(stats.failed, 0);
        assert_eq!(guest.vmc.deadline(), None);
    }
}

#[test]
fn bytes_in_rings_go_on_over_tcp_whoever_leaves() {
    for who in 0..2 {
        let mut pair = Pair::linked();
        let mut got = [pair.pump(0, 0, 5000), pair.pump(1, 0, 3000)];
        // Both directions have bytes that nobody has read.
        let there = Pair::pattern(5000, 700);
        let back = Pair::pattern(3000, 5000);
        assert_eq!(pair.write(0, &there), Ok(700));
        assert_eq!(pair.write(1, &back), Ok(5000));
        leave(&mut pair, who);
        pair.run();
        for _ in 0..100 {
            for (at, got) in got.iter_mut().enumerate() {
                got.extend(pair.read_all(1 - at).0);
                pair.advance(at);
            }
        }
        assert!(got[0] == Pair::pattern(0, 5700));
        assert!(got[1] == Pair::pattern(0, 8000));
        pair.pass(SECOND / 10);
        assert_nothing_left(&pair);
        assert_eq!(pair.pump(0, 5700, 100), Pair::pattern(5700, 100));
        let address = pair.guests[who].address;
        let cause = Cause::PeerMigrating;
        assert!(
            pair.take_outputs(1 - who)
                .contains(&Output::LinkDown { address, cause })
        );
    }
}

#[test]
fn leaves_may_cross_and_so_may_a_switch() {
    for both in [false, true] {
        let mut pair = Pair::linked();
        assert_eq!(pair.write(0, b"crossing"), Ok(8));
        leave(&mut pair, 1);
        if both {
            leave(&mut pair, 0);
        }
        pair.run();
        assert_eq!(pair.read_all(1).0, b"crossing");
        pair.pass(SECOND / 10);
        assert_nothing_left(&pair);
    }
}

#[test]
fn a_fin_with_residue_closes_tcp_behind_it() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    let bytes = Pair::pattern(10, 3000);
    assert_eq!(pair.write(0, &bytes), Ok(3000));
    pair.finish(0);
    pair.run();
    leave(&mut pair, 1);
    pair.run();
    assert!(!pair.is_closed(0), "TCP takes 1000 at a time");
    let mut got = Vec::new();
    let mut ended = false;
    for _ in 0..10 {
        let (some, end) = pair.read_all(1);
        got.extend(some);
        ended |= end;
        pair.advance(0);
    }
    assert!(got == bytes && ended);
}

#[test]
fn a_peer_that_does_not_answer_is_waited_for_500_ms() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    pair.pump(1, 0, 10);
    leave(&mut pair, 0);
    // Guest 1 gets no turn.
    let start = pair.clock.get();
    while let Some(at) = pair.guests[0].vmc.deadline() {
        if pair.guests[0].vmc.is_alone() {
            break;
        }
        pair.clock.set(at.0);
        pair.turn(0);
    }
    assert_eq!(pair.clock.get() - start, SECOND / 2);
    assert!(pair.guests[0].vmc.is_alone());
    let failed = Output::Failed(pair.conn(0));
    assert!(
        pair.take_outputs(0).contains(&failed),
        "its offset is unknown"
    );
}

#[test]
fn a_connection_that_only_reads_by_ring_survives_a_silent_peer() {
    let mut pair = Pair::linked();
    pair.pump(1, 0, 10);
    leave(&mut pair, 0);
    while !pair.guests[0].vmc.is_alone() {
        let at = pair.guests[0].vmc.deadline().expect("a deadline");
        pair.clock.set(at.0);
        pair.turn(0);
    }
    assert_eq!(pair.guests[0].vmc.statistics().failed, 0);
    // The other guest finds what was left for it.
    pair.run();
    assert_eq!(pair.guests[1].vmc.statistics().failed, 0);
    assert_eq!(pair.pump(1, 10, 10), Pair::pattern(10, 10));
}

#[test]
fn a_guest_that_left_greets_nobody_until_it_resumes() {
    let mut pair = Pair::linked();
    leave(&mut pair, 0);
    pair.run();
    pair.greet(0);
    pair.greet(1);
    pair.run();
    assert_eq!(pair.peer(0), PeerState::Unknown);
    assert_eq!(pair.peer(1), PeerState::Remote);
    // The migration was cancelled: the peer of the open connection is found.
    pair.guests[0].vmc.renew();
    pair.run();
    assert_eq!(pair.peer(0), PeerState::Linked);
    assert_eq!(pair.pump(0, 0, 100), Pair::pattern(0, 100));
    assert_eq!(pair.sent_by_tcp(0), 0);
}

#[test]
fn a_suspend_that_is_cancelled_at_once_costs_no_connection() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    pair.pump(1, 0, 10);
    leave(&mut pair, 0);
    pair.guests[0].vmc.renew();
    pair.run();
    assert_eq!(pair.peer(0), PeerState::Linked);
    assert_eq!(pair.pump(0, 10, 90), Pair::pattern(10, 90));
    assert_eq!(pair.pump(1, 10, 90), Pair::pattern(10, 90));
    for guest in &pair.guests {
        assert_eq!(guest.vmc.statistics().failed, 0);
        assert_eq!(guest.vmc.statistics().links, 2);
        assert_eq!(guest.vmc.statistics().upgrades, 2);
    }
}

#[test]
fn two_rings_of_a_direction_fall_back_together() {
    let mut pair = Pair::linked();
    let bytes = Pair::pattern(0, 1 << 20);
    let mut sent = 0;
    // Until there are two rings, and bytes in both.
    while pair.guests[0].vmc.statistics().growths == 0 {
        sent += pair.write(0, &bytes[sent..]).expect("fine");
    }
    pair.run();
    let mut got = vec![0; 1000];
    assert_eq!(pair.read_into(1, &mut got), Ok(Received::Bytes(1000)));
    leave(&mut pair, 1);
    pair.run();
    while got.len() < sent {
        got.extend(pair.read_all(1).0);
        pair.advance(0);
    }
    assert!(got == bytes[..sent]);
    pair.pass(SECOND / 10);
    assert_nothing_left(&pair);
}

#[test]
fn a_peer_that_left_in_order_is_not_taken_for_dead() {
    // The owner's timer fires before the event of the mapper's goodbye.
    let mut pair = Pair::linked();
    pair.pump(1, 0, 10);
    assert_eq!(pair.write(1, b"residue"), Ok(7));
    pair.guests[1].vmc.flush();
    leave(&mut pair, 1);
    pair.turn(0);
    pair.turn(1);
    pair.wait(SECOND / 4);
    pair.guests[1].vmc.poll();
    pair.guests[0].vmc.poll();
    pair.run();
    assert_eq!(pair.read_all(0).0, b"residue");
    for guest in &pair.guests {
        assert_eq!(guest.vmc.statistics().failed, 0);
        assert_eq!(guest.vmc.statistics().ended(Cause::Gone), 0);
    }
}

#[test]
fn residue_goes_into_tcp_though_nobody_writes() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    let bytes = Pair::pattern(10, 9000);
    assert_eq!(pair.write(0, &bytes), Ok(9000));
    leave(&mut pair, 1);
    let mut got = Vec::new();
    for _ in 0..100 {
        pair.pass(SECOND / 100);
        got.extend(pair.read_all(1).0);
    }
    assert!(got == bytes, "{} bytes", got.len());
    assert_eq!(pair.guests[0].vmc.deadline(), None);
}
