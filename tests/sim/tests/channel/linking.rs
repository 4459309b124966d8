//! Discovery and proof.

use std::net::IpAddr;

use sim::puppet::Peer;
use sim::xen::{Dom, Holdings, Host, Limits};
use vmc::wire::datagram::NO_COOKIE;
use vmc::{Cause, MemberEvent, Output, PeerState, Vmc};

use super::pair::{Pair, config};
use super::victim::Victim;

const SECOND: u64 = 1_000_000_000;

fn addresses() -> impl Iterator<Item = IpAddr> {
    (0..=255).map(|last| IpAddr::from([10, 0, 1, last]))
}

fn states(pair: &Pair) -> [PeerState; 2] {
    [0, 1].map(|at| pair.peer(at))
}

#[test]
fn one_greeting_makes_a_link() {
    let mut pair = Pair::linked();
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
    for at in 0..2 {
        let outputs = pair.take_outputs(at);
        let up = |output: &&Output| matches!(output, Output::LinkUp { .. });
        let joined = |output: &&Output| matches!(output, Output::Member(member) if member.event == MemberEvent::Join);
        assert_eq!(outputs.iter().filter(up).count(), 1);
        assert_eq!(outputs.iter().filter(joined).count(), 1);
    }
    assert_eq!(pair.holdings(), (9, 2));
}

#[test]
fn both_may_greet_at_once() {
    let mut pair = Pair::new();
    pair.greet(0);
    pair.greet(1);
    pair.run();
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
    assert_eq!(pair.holdings(), (9, 2), "there is one link");
}

#[test]
fn nobody_answers_and_the_address_is_remote() {
    let mut pair = Pair::new();
    pair.deaf = true;
    pair.greet(0);
    assert_eq!(states(&pair)[0], PeerState::Asking);
    pair.pass(2 * SECOND);
    assert_eq!(states(&pair)[0], PeerState::Remote);
    let hellos = pair.take_outputs(0).len();
    assert_eq!(hellos, 4);
    assert_eq!(pair.guests[0].vmc.deadline(), None);
    // A HELLO from the other guest is still answered.
    pair.deaf = false;
    pair.greet(1);
    pair.run();
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
}

#[test]
fn a_remote_address_is_asked_again_after_a_minute() {
    let mut pair = Pair::new();
    pair.deaf = true;
    pair.greet(0);
    pair.pass(2 * SECOND);
    pair.deaf = false;
    pair.pass(59 * SECOND);
    pair.greet(0);
    assert_eq!(states(&pair)[0], PeerState::Remote, "nobody is asked");
    pair.pass(SECOND);
    assert_eq!(states(&pair)[0], PeerState::Unknown);
    pair.greet(0);
    pair.run();
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
}

#[test]
fn a_lost_welcome_is_repeated() {
    let mut pair = Pair::new();
    pair.greet(0);
    pair.turn(0);
    pair.deaf = true;
    pair.turn(1);
    pair.deaf = false;
    pair.pass(SECOND / 2);
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
    assert_eq!(pair.holdings(), (9, 2));
}

#[test]
fn a_guest_of_another_host_is_remote_and_leaves_nothing() {
    // Both hosts use the same domids.
    let mut pair = Pair::new();
    let elsewhere = Host::new(2);
    let dom = Dom::boot(&elsewhere, &pair.clock, 2);
    pair.guests[1].vmc.platform_mut().end();
    pair.guests[1].vmc = Vmc::new(dom, config(2));
    pair.name(1);
    pair.greet(0);
    pair.pass(2 * SECOND);
    assert_eq!(states(&pair)[0], PeerState::Remote);
    assert_eq!(states(&pair)[1], PeerState::Unknown, "REFUSED took it back");
    assert_eq!(pair.holdings(), (0, 0));
}

#[test]
fn an_offer_that_was_withdrawn_is_asked_for_again() {
    let mut pair = Pair::new();
    // What cannot be mapped may have been withdrawn for offers that others wanted.
    pair.refuse_maps(0);
    pair.greet(0);
    pair.run();
    assert_eq!(states(&pair), [PeerState::Asking, PeerState::Unknown]);
    assert_eq!(pair.holdings(), (0, 0));
    pair.guests[0].vmc.platform_mut().limit(Limits::NONE);
    pair.pass(SECOND / 2);
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
}

#[test]
fn an_unproved_region_does_not_stay() {
    let mut pair = Pair::new();
    pair.greet(0);
    // HELLO, CHALLENGE, HELLO with the cookie.
    pair.turn(0);
    pair.turn(1);
    pair.turn(0);
    pair.deaf = true;
    pair.turn(1);
    assert_eq!(pair.holdings(), (9, 1));
    pair.pass(3 * SECOND);
    assert_eq!(pair.holdings(), (0, 0));
    assert_eq!(pair.guests[1].vmc.statistics().granted_pages, 0);
}

#[test]
fn greetings_without_end_hold_a_bounded_number_of_regions() {
    let mut victim = Victim::alone();
    let mut challenges = 0;
    for remote in addresses() {
        victim.peer.cookie = NO_COOKIE;
        let hello = victim.peer.hello();
        let link = vmc::Pair {
            remote,
            ..Victim::LINK
        };
        // Whoever forges addresses sees no answer.
        victim.vmc.datagram(link, &hello);
        assert_eq!(victim.vmc.platform().holdings(), Holdings::default());
        victim.turn();
        for output in victim.outputs.drain(..) {
            let Output::Datagram { pair, bytes } = output else {
                continue;
            };
            assert_eq!(pair, link);
            assert!(bytes.len() <= hello.len(), "an answer is no amplifier");
            challenges += u32::from(victim.peer.take_challenge(&bytes));
        }
    }
    assert!(challenges >= 200, "{challenges}");
}

#[test]
fn greetings_from_many_true_addresses_hold_a_bounded_number_of_regions() {
    let mut victim = Victim::alone();
    for remote in addresses() {
        let link = vmc::Pair {
            remote,
            ..Victim::LINK
        };
        victim.peer.cookie = NO_COOKIE;
        for _ in 0..2 {
            let hello = victim.peer.hello();
            victim.vmc.datagram(link, &hello);
            victim.turn();
            for output in victim.outputs.drain(..) {
                if let Output::Datagram { bytes, .. } = output {
                    victim.peer.take_challenge(&bytes);
                }
            }
        }
        let granted = victim.vmc.statistics().granted_pages;
        assert!(granted <= 8 * 9, "{granted}");
    }
    assert_eq!(victim.vmc.statistics().granted_pages, 8 * 9);
    // The places are not lost to an honest guest that repeats its HELLO.
    victim.peer.cookie = NO_COOKIE;
    victim.pass(SECOND / 10);
    let victim = victim.linked_now();
    assert_eq!(victim.vmc.statistics().links, 1);
}

#[test]
fn a_dead_peer_is_found_and_nothing_of_it_stays() {
    for dead in 0..2 {
        let mut pair = Pair::linked();
        pair.write(0, b"x").expect("fine");
        pair.run();
        pair.guests[dead].vmc.platform_mut().end();
        let alive = 1 - dead;
        let now = pair.clock.get();
        // Only the guest that lives gets turns.
        let at = pair.guests[alive].vmc.deadline().expect("a look");
        assert!(at.0 <= now + SECOND / 4, "a connection uses the link");
        pair.clock.set(at.0);
        pair.turn(alive);
        let outputs = pair.take_outputs(alive);
        let failed = Output::Failed(pair.conn(alive));
        assert!(outputs.contains(&failed), "{outputs:?}");
        let address = pair.guests[dead].address;
        let cause = Cause::Gone;
        assert!(outputs.contains(&Output::LinkDown { address, cause }));
        assert_eq!(pair.guests[alive].vmc.statistics().mapped_pages, 0);
        assert!(pair.guests[alive].vmc.is_alone());
    }
}

#[test]
fn a_link_that_stands_is_not_replaced_by_another_of_its_domain() {
    let mut victim = Victim::alone();
    let (mut domain, _) = victim.another(2);
    // It is offered a link at each of three addresses, and proves them only then.
    let mut offered = Vec::new();
    for last in 2..5 {
        let pair = Victim::pair_with(IpAddr::from([10, 0, 0, last]));
        let mut peer = Peer::new(domain.dom.twin(), domain.uuid);
        let welcome = victim.greeted_by(&mut peer, pair).expect("an answer");
        offered.push((peer, pair, welcome));
    }
    assert_eq!(victim.vmc.statistics().granted_pages, 3 * 9);
    for (peer, _, welcome) in &mut offered {
        peer.accept(&welcome.encode()).expect("what was offered");
        victim.turn();
    }
    let states = offered.iter().map(|(_, pair, _)| victim.vmc.peer(*pair));
    let [stands, newcomer] = [PeerState::Linked, PeerState::Unknown];
    assert_eq!(states.collect::<Vec<_>>(), [stands, newcomer, newcomer]);
    for (newcomer, ..) in &mut offered[1..] {
        newcomer.vanish();
    }
    victim.pass(SECOND);
    let stats = victim.vmc.statistics();
    assert_eq!((stats.links, stats.granted_pages), (1, 9));
    assert_eq!(victim.vmc.peer(offered[0].1), PeerState::Linked);
}

#[test]
fn a_guest_that_is_known_and_greets_again_takes_the_old_links_place() {
    let mut pair = Pair::linked();
    // It restarts without telling anyone.
    let dom = Dom::boot(&pair.host, &pair.clock, 3);
    pair.guests[0].vmc.platform_mut().end();
    pair.guests[0].vmc = Vmc::new(dom, config(1));
    pair.name(0);
    pair.greet(0);
    pair.run();
    assert!(pair.take_outputs(1).iter().any(|output| matches!(
        output,
        Output::LinkDown {
            cause: Cause::Replaced,
            ..
        }
    )));
    pair.pass(SECOND);
    assert_eq!(states(&pair), [PeerState::Linked; 2]);
    assert_eq!(pair.holdings(), (9, 2));
    assert_eq!(pair.guests[1].vmc.links().count(), 1);
}
