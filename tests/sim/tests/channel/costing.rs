//! What a peer can make a guest do, hold and keep, and what that costs others.

use std::net::{IpAddr, SocketAddr};

use sim::endpoint::Socket;
use vmc::{Cause, Config, FourTuple, Output, PeerState};

use super::pair::{Pair, config, established};
use super::victim::Victim;

const SECOND: u64 = 1_000_000_000;

/// MIGRATING (docs/protocol.md, "Messages on the link").
const MIGRATING: u8 = 13;
/// Messages of this kind that a message ring holds.
const RINGFUL: usize = 4 * 4096 / 6;
/// Where the mapper's state is in the control page, and the state "closed".
const STATE: usize = 0x090;
const CLOSED: u64 = 2;
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
        let conn = victim.vmc.track(tuple, 0, 0).expect("room");
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
