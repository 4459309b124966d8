//! The channel through a migration: rings in pages of the peer, a suspend that
//! waits for nobody, and what both sides settle afterwards.

use sim::xen::Host;
use vmc::{Cause, MemberEvent, Output, Step};

use super::pair::Pair;

const SECOND: u64 = 1_000_000_000;

fn own_pages(pair: &Pair, at: usize) -> (usize, usize) {
    let vmc = &pair.guests[at].vmc;
    (vmc.own_rings().count(), vmc.foreign_ring_pages())
}

fn steps(pair: &mut Pair, at: usize) -> Vec<Step> {
    let outputs = pair.take_outputs(at).into_iter();
    outputs
        .filter_map(|output| match output {
            Output::Handover { step, .. } => Some(step),
            _ => None,
        })
        .collect()
}

/// A pair with bytes on rings in both directions; what was sent each way.
fn streaming() -> (Pair, usize, usize) {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 5000);
    pair.pump(1, 0, 3000);
    (pair, 5000, 3000)
}

/// Reads what has come by now and lets TCP's share arrive.
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
    pair.guests[0].vmc.forewarn();
    pair.run();
    let got = pair.pump(0, there, 9000);
    assert!(got == Pair::pattern(there, 9000));
    assert_eq!(own_pages(&pair, 0), (0, 10), "all in pages of the other");
    assert_eq!(own_pages(&pair, 1), (2, 0));
    assert_eq!(steps(&mut pair, 0), [Step::Notice, Step::Rehomed]);
    // The notice is withdrawn: back again.
    pair.guests[0].vmc.stay();
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
            pair.guests[who].vmc.forewarn();
            pair.run();
        }
        let more = [Pair::pattern(there, 4000), Pair::pattern(back, 4000)];
        assert_eq!(pair.write(0, &more[0]), Ok(4000));
        assert_eq!(pair.write(1, &more[1]), Ok(4000));
        pair.guests[who].vmc.freeze();
        assert!(pair.guests[who].vmc.is_alone(), "nothing is mapped");
        // The other has not run yet; it goes on while this one is away.
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
fn both_may_be_suspended_at_once() {
    for notices in [[false, false], [true, false], [false, true], [true, true]] {
        let (mut pair, there, back) = streaming();
        for at in [0, 1] {
            if notices[at] {
                pair.guests[at].vmc.forewarn();
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
    pair.pass(59 * SECOND);
    assert_eq!(pair.guests[0].vmc.statistics().failed, 0);
    pair.pass(2 * SECOND);
    assert_eq!(pair.guests[0].vmc.statistics().failed, 1);
    pair.pass(600 * SECOND);
    // Nothing of the other's was on the way: TCP has it, as any silent peer.
    assert_eq!(pair.guests[1].vmc.deadline(), None);
}

#[test]
fn a_resume_out_of_the_blue_ends_nothing() {
    let (mut pair, there, _) = streaming();
    assert_eq!(pair.write(0, &Pair::pattern(there, 10)), Ok(10));
    pair.run();
    // The true one of an earlier suspend, once more.
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    pair.guests[0].vmc.renew();
    let mut resume = None;
    while let Some(output) = pair.guests[0].vmc.output() {
        if let Output::Datagram { to, bytes } = output {
            if bytes[5] == 4 {
                resume = Some(bytes.clone());
            }
            assert_eq!(to, pair.guests[1].address);
            let from = pair.guests[0].address;
            pair.guests[1].vmc.datagram(from, &bytes);
        }
    }
    pair.pass(SECOND);
    assert!(settle(&mut pair)[1] == Pair::pattern(there, 10));
    let resume = resume.expect("a RESUME");
    let from = pair.guests[0].address;
    assert_eq!(pair.write(0, &Pair::pattern(there + 10, 10)), Ok(10));
    pair.guests[1].vmc.datagram(from, &resume);
    assert!(pair.guests[1].vmc.links().next().is_some(), "still linked");
    assert!(settle(&mut pair)[1] == Pair::pattern(there + 10, 10));
}

#[test]
fn a_network_that_comes_back_shortens_no_ones_time() {
    let (mut pair, _, back) = streaming();
    let more = Pair::pattern(back, 100);
    assert_eq!(pair.write(1, &more), Ok(100));
    pair.guests[0].vmc.freeze();
    pair.turn(1);
    // The one that stays gets a new network backend; the other is away for long.
    pair.deaf = true;
    pair.guests[1].vmc.reach_out();
    pair.guests[1].vmc.forewarn();
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
