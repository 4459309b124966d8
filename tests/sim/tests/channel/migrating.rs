//! The channel through a migration: rings in pages of the peer, a suspend that
//! waits for nobody, and what both sides settle afterwards.

use sim::endpoint::Socket;
use sim::xen::Host;
use vmc::{Cause, LeaveReason, MemberEvent, Output, PeerState, Phase, Received, Tcp};

use super::pair::Pair;
use super::victim::Victim;

const SECOND: u64 = 1_000_000_000;

fn own_pages(pair: &Pair, at: usize) -> (usize, usize) {
    let vmc = &pair.guests[at].vmc;
    (
        vmc.report().own_rings().count(),
        vmc.report().foreign_ring_pages(),
    )
}

fn steps(pair: &mut Pair, at: usize) -> Vec<Phase> {
    let outputs = pair.take_outputs(at).into_iter();
    outputs
        .filter_map(|output| match output {
            Output::Migration { phase, .. } => Some(phase),
            _ => None,
        })
        .collect()
}

/// Returns a pair with bytes on rings in both directions, and how many bytes
/// were sent each way.
fn streaming() -> (Pair, usize, usize) {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 5000);
    pair.pump(1, 0, 3000);
    (pair, 5000, 3000)
}

/// Reads what has arrived so far, and has TCP deliver its share.
fn settle(pair: &mut Pair) -> [Vec<u8>; 2] {
    let mut got = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        for (at, got) in got.iter_mut().enumerate() {
            got.extend(pair.read_all(at).0);
            pair.advance(at);
        }
        pair.run();
    }
    got
}

#[test]
fn at_the_notice_what_a_guest_writes_moves_to_pages_of_its_peer() {
    let (mut pair, there, _) = streaming();
    assert_eq!(own_pages(&pair, 0), (1, 5), "one of each");
    pair.guests[0].vmc.early_notice();
    pair.run();
    let got = pair.pump(0, there, 9000);
    assert!(got == Pair::pattern(there, 9000));
    assert_eq!(own_pages(&pair, 0), (0, 10), "all in pages of the other");
    assert_eq!(own_pages(&pair, 1), (2, 0));
    assert_eq!(steps(&mut pair, 0), [Phase::EarlyNotice, Phase::Rehomed]);
    // The notice is withdrawn, and the direction moves back.
    pair.guests[0].vmc.withdraw_notice();
    pair.run();
    assert!(pair.pump(0, there + 9000, 100) == Pair::pattern(there + 9000, 100));
    assert_eq!(own_pages(&pair, 0), (1, 5));
    let heard = pair.take_outputs(1);
    let told = |event| {
        heard.iter().any(|output| match output {
            Output::Member(member) => member.event == event,
            _ => false,
        })
    };
    assert!(told(MemberEvent::Migrating) && told(MemberEvent::Join));
}

#[test]
fn a_suspend_waits_for_nobody_and_no_byte_is_lost_or_repeated() {
    for case in 0..8 {
        let (notice, who, is_cancelled) = (case & 1 != 0, case >> 1 & 1, case & 4 != 0);
        let (mut pair, there, back) = streaming();
        if notice {
            pair.guests[who].vmc.early_notice();
            pair.run();
        }
        let more = [Pair::pattern(there, 4000), Pair::pattern(back, 4000)];
        assert_eq!(pair.write(0, &more[0]), Ok(4000));
        assert_eq!(pair.write(1, &more[1]), Ok(4000));
        pair.guests[who].vmc.freeze();
        assert!(pair.guests[who].vmc.is_alone(), "nothing is mapped");
        // The other guest has not run yet; it continues while this one is away.
        pair.turn(1 - who);
        assert!(pair.guests[1 - who].vmc.is_alone());
        let kept = pair.read_all(1 - who).0;
        if !is_cancelled {
            let elsewhere = Host::new(1);
            let vmc = &mut pair.guests[who].vmc;
            vmc.platform_mut().migrate(&elsewhere);
        }
        pair.guests[who].vmc.renew();
        let got = settle(&mut pair);
        let mut all = kept;
        all.extend(&got[1 - who]);
        assert!(all == more[who], "to the one that stayed");
        assert!(got[who] == more[1 - who], "to the one that went");
        pair.pass(SECOND);
        assert!(pair.pump(0, there + 4000, 50) == Pair::pattern(there + 4000, 50));
        let cause = Cause::PeerSuspended;
        let address = pair.guests[who].address;
        let down = Output::LinkDown { address, cause };
        assert!(pair.take_outputs(1 - who).contains(&down));
        for guest in &pair.guests {
            assert_eq!(guest.vmc.statistics().failed, 0);
        }
    }
}

#[test]
fn a_stream_gets_its_link_back_when_all_greetings_after_a_suspend_are_lost() {
    let (mut pair, there, _) = streaming();
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.deaf = true;
    pair.guests[0].vmc.renew();
    pair.pass(2 * SECOND);
    assert_eq!(pair.peer(0), PeerState::Remote);
    pair.pass(200 * SECOND);
    pair.deaf = false;
    // By now it is greeted once a minute.
    pair.pass(62 * SECOND);
    assert_eq!(pair.peer(0), PeerState::Linked);
    let by_tcp = pair.sent_by_tcp(0);
    assert!(pair.pump(0, there, 9000) == Pair::pattern(there, 9000));
    assert_eq!(pair.sent_by_tcp(0), by_tcp);
}

#[test]
fn without_connections_nobody_is_greeted_again() {
    let (mut pair, ..) = streaming();
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.deaf = true;
    pair.guests[0].vmc.renew();
    pair.pass(2 * SECOND);
    let conn = pair.conn(0);
    pair.guests[0].vmc.forget(conn);
    pair.pass(10 * SECOND);
    pair.take_outputs(0);
    pair.pass(200 * SECOND);
    assert_eq!(pair.take_outputs(0), []);
    assert_eq!(pair.guests[0].vmc.deadline(), None);
}

#[test]
fn both_may_be_suspended_at_once() {
    for notices in [[false, false], [true, false], [false, true], [true, true]] {
        let (mut pair, there, back) = streaming();
        for at in [0, 1] {
            if notices[at] {
                pair.guests[at].vmc.early_notice();
                pair.run();
            }
        }
        let more = [Pair::pattern(there, 300), Pair::pattern(back, 300)];
        assert_eq!(pair.write(0, &more[0]), Ok(300));
        assert_eq!(pair.write(1, &more[1]), Ok(300));
        pair.guests[0].vmc.freeze();
        pair.guests[1].vmc.freeze();
        pair.guests[0].vmc.renew();
        pair.guests[1].vmc.renew();
        let got = settle(&mut pair);
        assert!(got[1] == more[0] && got[0] == more[1], "{notices:?}");
    }
}

#[test]
fn lost_datagrams_are_repeated_and_silence_ends_the_connection() {
    let (mut pair, there, _) = streaming();
    let more = Pair::pattern(there, 100);
    assert_eq!(pair.write(0, &more), Ok(100));
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.guests[0].vmc.renew();
    pair.deaf = true;
    pair.pass(SECOND);
    pair.deaf = false;
    pair.pass(2 * SECOND);
    assert!(settle(&mut pair)[1] == more);

    let (mut pair, there, _) = streaming();
    assert_eq!(pair.write(0, &Pair::pattern(there, 100)), Ok(100));
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.guests[0].vmc.renew();
    pair.deaf = true;
    pair.pass(599 * SECOND);
    assert_eq!(pair.guests[0].vmc.statistics().failed, 0);
    pair.pass(2 * SECOND);
    assert_eq!(pair.guests[0].vmc.statistics().failed, 1);
    pair.pass(SECOND);
    // Nothing of the other guest's was in flight: TCP deals with it as with any
    // silent peer.
    assert_eq!(pair.guests[1].vmc.deadline(), None);
}

#[test]
fn a_resume_out_of_the_blue_ends_nothing() {
    let (mut pair, there, _) = streaming();
    assert_eq!(pair.write(0, &Pair::pattern(there, 10)), Ok(10));
    pair.run();
    // The genuine RESUME of an earlier suspend, replayed.
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.guests[0].vmc.renew();
    let mut resume = None;
    while let Some(output) = pair.guests[0].vmc.output() {
        if let Output::Datagram { pair: link, bytes } = output {
            if bytes[5] == 4 {
                resume = Some(bytes.clone());
            }
            assert_eq!(link, pair.link_of(0));
            pair.guests[1].vmc.datagram(link.flipped(), &bytes);
        }
    }
    pair.pass(SECOND);
    assert!(settle(&mut pair)[1] == Pair::pattern(there, 10));
    let resume = resume.expect("a RESUME");
    assert_eq!(pair.write(0, &Pair::pattern(there + 10, 10)), Ok(10));
    let link = pair.link_of(1);
    pair.guests[1].vmc.datagram(link, &resume);
    assert!(pair.guests[1].vmc.links().next().is_some(), "still linked");
    assert!(settle(&mut pair)[1] == Pair::pattern(there + 10, 10));
}

#[test]
fn a_network_that_comes_back_shortens_no_time_limit() {
    let (mut pair, _, back) = streaming();
    let more = Pair::pattern(back, 100);
    assert_eq!(pair.write(1, &more), Ok(100));
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    // The guest that stays gets a new network backend; the other is away for a
    // long time.
    pair.deaf = true;
    pair.guests[1].vmc.reach_out();
    pair.guests[1].vmc.early_notice();
    pair.guests[1].vmc.reach_out();
    for _ in 0..5 * 60 {
        pair.wait(SECOND);
        pair.turn(1);
    }
    assert_eq!(pair.guests[1].vmc.statistics().failed, 0);
    pair.deaf = false;
    pair.guests[0].vmc.renew();
    pair.pass(SECOND);
    assert!(settle(&mut pair)[0] == more);
}

#[test]
fn frames_sent_before_a_suspend_arrive() {
    let (mut pair, ..) = streaming();
    let mut frame = [0; 60];
    frame[12] = 8;
    frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    let link = pair.link_of(1);
    assert!(pair.guests[1].vmc.send_frame(link, &frame));
    // The receiver does not run before it is suspended.
    let receiver = &mut pair.guests[0].vmc;
    receiver.freeze();
    let outputs: Vec<_> = std::iter::from_fn(|| receiver.output()).collect();
    let is_frame = |output: &Output| matches!(output, Output::Frame(_));
    assert!(outputs.iter().any(is_frame), "{outputs:?}");
}

#[test]
fn offsets_named_before_a_suspend_need_no_answer_after_it() {
    let (mut pair, there, _) = streaming();
    let more = Pair::pattern(there, 4000);
    assert_eq!(pair.write(0, &more), Ok(4000));
    // The reader confirms its rings; the writer does not run before it is
    // suspended, and no datagram gets through afterwards.
    pair.guests[1].vmc.leave(LeaveReason::Shutdown);
    pair.guests[0].vmc.freeze();
    pair.deaf = true;
    pair.guests[0].vmc.renew();
    // It waits a while for its peer to say that nothing has happened since.
    assert!(settle(&mut pair)[1].is_empty());
    pair.pass(2 * SECOND);
    assert!(settle(&mut pair)[1] == more);
    pair.pass(70 * SECOND);
    assert_eq!(pair.guests[0].vmc.statistics().failed, 0);
}

/// Guest 0 is to migrate, and `writer` writes. In each round 5 pages of guest 1
/// are in use for its ring, and none once there was no traffic for a while. 128
/// are granted and mapped at most.
fn traffic_comes_and_goes(pair: &mut Pair, writer: usize) {
    pair.guests[0].vmc.early_notice();
    pair.run();
    let mut sent = 0;
    for round in 0..40 {
        // A ring in the peer's pages is asked for; after some writes the next
        // one tries again.
        for _ in 0..100 {
            assert!(pair.pump(writer, sent, 10) == Pair::pattern(sent, 10));
            sent += 10;
        }
        assert_eq!(own_pages(pair, 0), (0, 5), "round {round}");
        pair.pass(SECOND / 2);
        assert_eq!(own_pages(pair, 0), (0, 0), "round {round}");
    }
}

#[test]
fn a_ring_that_is_sealed_gives_its_quota_back() {
    let mut pair = Pair::linked();
    traffic_comes_and_goes(&mut pair, 0);
    // The reader was woken by the CONFIRM and releases the last one.
    assert_eq!(pair.read_all(1), (Vec::new(), false));
    assert_eq!(pair.guests[1].vmc.statistics().granted_pages, 9);
}

#[test]
fn a_ring_that_is_retired_gives_its_quota_back() {
    let mut pair = Pair::linked();
    traffic_comes_and_goes(&mut pair, 1);
    assert_eq!(pair.guests[0].vmc.statistics().refusals.unmapped, 0);
    assert_eq!(pair.guests[0].vmc.statistics().mapped_pages, 9);
}

#[test]
fn a_new_link_settles_what_an_old_one_left_open() {
    // Only the guest that stays has bytes to settle.
    let mut pair = Pair::linked();
    pair.pump(1, 0, 3000);
    let more = Pair::pattern(3000, 100);
    assert_eq!(pair.write(1, &more), Ok(100));
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.guests[0].vmc.renew();
    // The guest that was suspended asks for a minute, and nobody hears it.
    pair.deaf = true;
    pair.pass(62 * SECOND);
    assert_eq!(pair.guests[1].vmc.unconsumed(pair.conn(1)), 100);
    pair.deaf = false;
    pair.greet(0);
    pair.pass(SECOND);
    assert!(settle(&mut pair)[0] == more);
}

/// A peer may be suspended between the CONFIRMs of two rings, because its
/// messages found no room. The bytes of the first are residue by then; those of
/// the second are kept until RESUME names an offset.
#[test]
fn residue_of_an_earlier_ring_comes_before_that_of_a_later_one() {
    const CONSUMED: usize = 1000;
    let mut victim = Victim::linked();
    let (conn, tcp) = victim.connect();
    let now = victim.clock.get();
    let bytes = Pair::pattern(0, 1 << 18);
    let mut sent = 0;
    while sent < 20_000 {
        let socket = &mut Socket::new(&tcp, 0, now);
        sent += victim
            .vmc
            .write(conn, socket, &bytes[sent..sent + 3000])
            .expect("fine");
        victim.turn();
    }
    assert_eq!(victim.vmc.statistics().growths, 1, "bytes in two rings");
    victim.peer.confirm(0, CONSUMED as u64);
    victim.turn();
    victim.peer.freeze();
    victim.pass(SECOND / 2);
    assert!(victim.vmc.is_alone());
    let resume = victim
        .peer
        .resume(&[([Victim::REMOTE, Victim::LOCAL], CONSUMED as u64)]);
    victim.vmc.datagram(Victim::LINK, &resume);
    let mut got = Vec::new();
    for _ in 0..sent {
        victim.turn();
        let now = victim.clock.get();
        victim.vmc.service(conn, &mut Socket::new(&tcp, 0, now));
        tcp.borrow_mut().advance(now);
        let mut into = [0; 500];
        if let Ok(Received::Bytes(count)) = Socket::new(&tcp, 1, now).receive(&mut into) {
            got.extend_from_slice(&into[..count]);
        }
    }
    assert_eq!(got.len(), sent - CONSUMED);
    assert!(got == bytes[CONSUMED..sent], "out of order");
}
