//! What a peer can make a guest do, hold and keep, and what that costs others.

use std::net::{IpAddr, SocketAddr};

use sim::endpoint::Socket;
use sim::xen::Holdings;
use vmc::wire::datagram::{Kind, Refusal};
use vmc::{Cause, Config, FourTuple, Output, PeerState};

use super::pair::{Pair, config, established};
use super::victim::Victim;

const SECOND: u64 = 1_000_000_000;

/// ASK, and MIGRATING (docs/protocol.md, "Messages on the link").
const ASK: u8 = 11;
const MIGRATING: u8 = 13;
/// Messages of this kind that a message ring holds.
const RINGFUL: usize = 4 * 4096 / 6;
/// Where the mapper's state is in the control page, and the state "closed".
const STATE: usize = 0x090;
const CLOSED: u64 = 2;
/// The same of the owner's.
const OWNER_STATE: usize = 0x0c0;
/// Links that wait for their proof at a time, offered as well as taken.
const UNPROVED: usize = 8;
/// Suspends of one domain that are kept.
const SUSPENDS: usize = 32;

#[test]
fn ringing_without_end_before_the_proof_ends_the_offer() {
    let mut victim = Victim::alone();
    victim.greet_it();
    assert_eq!(victim.vmc.statistics().granted_pages, 9);
    let (link, _) = victim.vmc.links().next().expect("an offer");
    for _ in 0..3000 {
        victim.vmc.event(link);
    }
    victim.turn();
    assert_eq!(victim.vmc.statistics().granted_pages, 0);
    assert!(victim.vmc.is_alone());
}

#[test]
fn rings_of_others_take_nobodys_link() {
    let mut victim = Victim::with(Config {
        max_peers: 16,
        ..config(1)
    });
    let mut peers = Vec::new();
    for last in 2..10 {
        let (mut peer, pair) = victim.another(last);
        victim.link_with(&mut peer, pair);
        // 17 pages each; eight are more than half of the memory.
        for number in 0..8 {
            peer.message(ASK, &[number, 0, 4, 0]);
        }
        victim.turn();
        peers.push(peer);
    }
    let held = victim.vmc.statistics().granted_pages;
    assert!((240..=256 + 8 * 9).contains(&held), "{held}");
}

#[test]
fn links_offered_and_never_opened_are_given_up() {
    let mut victim = Victim::alone();
    let mut peers = Vec::new();
    for last in 2..2 + 3 * UNPROVED as u8 {
        let (mut peer, pair) = victim.another(last);
        victim.outputs.clear();
        victim.vmc.greet(pair);
        victim.turn();
        let hello = victim.outputs.iter().find_map(|output| match output {
            Output::Datagram { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        let hello = hello.expect("a HELLO");
        let welcome = peer.welcome(&hello).expect("pages to grant");
        // "Opening", for ever.
        peer.poke(OWNER_STATE, 0);
        victim.vmc.datagram(pair, &welcome);
        victim.turn();
        peers.push((peer, pair));
        let mapped = victim.vmc.statistics().mapped_pages;
        assert!(mapped <= UNPROVED * 9, "{mapped}");
    }
    assert_eq!(victim.vmc.statistics().mapped_pages, UNPROVED * 9);
    victim.pass(2 * SECOND);
    assert_eq!(victim.vmc.platform().holdings(), Holdings::default());
    assert!(victim.vmc.is_alone());
    for (_, pair) in &peers {
        assert_eq!(victim.vmc.peer(*pair), PeerState::Remote);
    }
    // There is room for one that means it.
    let (mut honest, pair) = victim.another(99);
    victim.link_with(&mut honest, pair);
}

#[test]
fn no_more_guests_have_links_than_there_are_places() {
    let mut victim = Victim::alone();
    let mut peers = Vec::new();
    for last in 2..2 + UNPROVED as u8 {
        let (mut peer, pair) = victim.another(last);
        let welcome = victim.greeted_by(&mut peer, pair).expect("an answer");
        assert!(matches!(welcome.kind, Kind::Welcome { .. }));
        peers.push((peer, pair, welcome));
    }
    // All have been offered a link, and prove themselves at once.
    for (peer, _, welcome) in &mut peers {
        peer.accept(&welcome.encode()).expect("what was offered");
    }
    victim.turn();
    let linked = |victim: &Victim| {
        let all = peers.iter();
        all.filter(|(_, pair, _)| victim.vmc.peer(*pair) == PeerState::Linked)
            .count()
    };
    assert_eq!(linked(&victim), config(1).max_peers);
    assert_eq!(victim.vmc.links().count(), config(1).max_peers);
    let (mut late, pair) = victim.another(99);
    let answer = victim.greeted_by(&mut late, pair).expect("an answer");
    assert_eq!(answer.kind, Kind::Refused(Refusal::NoRoom));
    // A guest that dies leaves its place.
    for (mut peer, ..) in peers {
        peer.vanish();
    }
    victim.pass(10 * SECOND);
    victim.link_with(&mut late, pair);
}

#[test]
fn a_peer_that_migrates_without_end_costs_others_nothing() {
    let mut victim = Victim::linked();
    // It is stopped, so it takes no message.
    let (mut other, pair) = victim.another(3);
    victim.link_with(&mut other, pair);
    for number in 0..RINGFUL {
        victim.peer.message(MIGRATING, &[1 - (number % 2) as u8, 0]);
    }
    victim.peer.poke(STATE, CLOSED);
    victim.peer.notify();
    for _ in 0..RINGFUL {
        victim.turn();
    }
    assert_eq!(victim.vmc.statistics().ended(Cause::Gone), 1);
    assert_eq!(victim.vmc.peer(pair), PeerState::Linked);
    // The same at leisure, for longer than a peer may be behind.
    victim.peer.vanish();
    let mut peer = std::mem::replace(&mut victim.peer, other);
    victim.link_with(&mut peer, Victim::LINK);
    for number in 0..4000 {
        peer.message(MIGRATING, &[1 - (number % 2) as u8, 0]);
        peer.listen();
        victim.pass(SECOND / 100);
    }
    assert_eq!(victim.vmc.statistics().ended(Cause::Stuck), 0);
    assert_eq!(victim.vmc.peer(pair), PeerState::Linked);
    assert_eq!(victim.vmc.peer(Victim::LINK), PeerState::Linked);
}

#[test]
fn suspends_of_one_domain_are_bounded_and_forgotten_with_their_connections() {
    // Room for a ring of each connection: what is kept of them counts, too.
    let mut victim = Victim::with(Config {
        memory: 16 << 20,
        ..config(1)
    });
    let (mut peer, _) = victim.another(2);
    let mut conns = Vec::new();
    for number in 0..2 * SUSPENDS as u8 {
        let address = IpAddr::from([10, 0, 1, number]);
        victim.link_with(&mut peer, Victim::pair_with(address));
        let tuple = FourTuple {
            local: Victim::LOCAL.into(),
            remote: SocketAddr::new(address, 200),
        };
        let conn = victim.vmc.track(tuple, 0, 0, false).expect("room");
        let now = victim.clock.get();
        let tcp = established(now);
        let written = victim
            .vmc
            .write(conn, &mut Socket::new(&tcp, 0, now), &[1; 100]);
        assert_eq!(written, Ok(100));
        peer.freeze();
        victim.pass(SECOND);
        conns.push((conn, tcp));
    }
    assert_eq!(victim.vmc.statistics().unsettled, SUSPENDS);
    let failed = |output: &&Output| matches!(output, Output::Failed(_));
    assert_eq!(victim.outputs.iter().filter(failed).count(), SUSPENDS);
    // Their connections end: nothing waits for them.
    for (conn, _) in &conns {
        victim.vmc.forget(*conn);
    }
    victim.turn();
    assert_eq!(victim.vmc.statistics().unsettled, 0);
}

#[test]
fn a_dead_peer_without_connections_is_found_within_5_s() {
    let mut pair = Pair::new();
    pair.greet(0);
    pair.run();
    pair.guests[1].vmc.platform_mut().end();
    pair.pass_alone(0, 5 * SECOND);
    assert_eq!(pair.guests[0].vmc.statistics().ended(Cause::Gone), 1);
    assert!(pair.guests[0].vmc.is_alone());
}
