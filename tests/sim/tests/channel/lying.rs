//! What a hostile peer can do.

use std::net::IpAddr;

use shared_memory::Memory;
use sim::endpoint::Socket;
use sim::xen::{Dom, Holdings, PAGE, Tamper};
use vmc::{Cause, FourTuple, LeaveReason, Output, PeerState, Platform, Received, Vmc};

use super::pair::{Pair, config};
use super::victim::Victim;

const SECOND: u64 = 1_000_000_000;

/// Kinds of messages (docs/protocol.md, "Messages on the link").
const RING: u8 = 2;
const CONFIRM: u8 = 4;
const DONE: u8 = 6;
const RETIRE: u8 = 7;
const RELEASED: u8 = 8;
const LEAVE: u8 = 10;

fn down(outputs: &[Output]) -> Option<Cause> {
    outputs.iter().find_map(|output| match output {
        Output::LinkDown { cause, .. } => Some(*cause),
        _ => None,
    })
}

#[test]
fn invalid_messages_end_the_link() {
    for bytes in [[0xff; 8], [0; 8], [CONFIRM, 0, 12, 0, 0, 0, 0, 0]] {
        let mut victim = Victim::linked();
        victim.peer.say(&bytes);
        victim.turn();
        // The last one is incomplete, which is not an error yet.
        let expected = (bytes[0] != CONFIRM).then_some(Cause::BadMessage);
        assert_eq!(down(&victim.outputs), expected);
    }
}

#[test]
fn messages_that_do_not_fit_the_state_end_the_link() {
    let bad: [(u8, &[u8]); 4] = [
        (RELEASED, &[0, 0]),
        (RETIRE, &[3, 0]),
        (DONE, &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        // The answer to a LEAVE that the victim never sent.
        (LEAVE, &[4, 0]),
    ];
    for (kind, payload) in bad {
        let mut victim = Victim::linked();
        victim.peer.message(kind, payload);
        victim.turn();
        assert_eq!(
            down(&victim.outputs),
            Some(Cause::BadMessage),
            "kind {kind}"
        );
        victim.peer.vanish();
        victim.pass(SECOND);
        assert_eq!(victim.vmc.platform().holdings(), Holdings::default());
    }
}

#[test]
fn an_index_that_lies_ends_the_link_and_its_connections_only() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    let ring = pair.guests[0]
        .vmc
        .report()
        .own_rings()
        .next()
        .expect("a ring");
    ring.store(0, u64::MAX / 2);
    assert!(pair.read(1, 10).is_err());
    assert_eq!(pair.guests[1].vmc.statistics().ended(Cause::IndexLie), 1);
    let failed = Output::Failed(pair.conn(1));
    pair.run();
    assert!(pair.take_outputs(1).contains(&failed));
    assert!(pair.guests[1].vmc.is_alone());
}

#[test]
fn ringing_without_end_ends_the_link() {
    let mut pair = Pair::linked();
    let (id, _) = pair.guests[1].vmc.links().next().expect("a link");
    for _ in 0..3000 {
        pair.guests[1].vmc.event(id);
    }
    pair.run();
    assert_eq!(down(&pair.take_outputs(1)), Some(Cause::Flood));
}

#[test]
fn a_peer_that_takes_no_messages_is_given_up() {
    let mut victim = Victim::linked();
    let start = victim.clock.get();
    for number in 0..2500u16 {
        // A ring that cannot be mapped: each SWITCH to it is refused.
        if number == 0 {
            victim
                .peer
                .message(RING, &[0, 0, 0, 0, 99, 0, 0, 0, 99, 0, 0, 0]);
        }
        victim.peer.switch(0, [Victim::REMOTE, Victim::LOCAL], 0);
        victim.turn();
    }
    assert_eq!(down(&victim.outputs), None, "it may still take them");
    victim.pass(6 * SECOND);
    assert_eq!(down(&victim.outputs), Some(Cause::Stuck));
    assert!(victim.clock.get() - start >= 5 * SECOND);
    assert!(victim.vmc.is_alone());
}

#[test]
fn frames_of_others_are_dropped_and_own_ones_arrive() {
    let mut pair = Pair::linked();
    let link = pair.link_of(0);
    let mut frame = [0; 60];
    frame[12] = 8;
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    assert!(pair.guests[0].vmc.send_frame(link, &frame));
    frame[29] = 9;
    assert!(pair.guests[0].vmc.send_frame(link, &frame));
    pair.run();
    let frames = pair.take_outputs(1);
    let frames = frames
        .iter()
        .filter(|output| matches!(output, Output::Frame(_)));
    assert_eq!(frames.count(), 1);
    assert_eq!(
        pair.guests[1].vmc.statistics().ended(Cause::WrongAddress),
        1
    );
}

#[test]
fn a_peer_that_never_unmaps_costs_its_pages_and_they_count() {
    let mut pair = Pair::linked();
    let liar = pair.guests[1].vmc.platform().domid();
    let mut host = pair.host.borrow_mut();
    host.make_hostile(liar, &Tamper::new(0), true);
    drop(host);
    pair.pump(0, 0, 10);
    pair.guests[0].vmc.leave(LeaveReason::Migrating);
    pair.pass(3 * SECOND);
    let stats = pair.guests[0].vmc.statistics();
    assert_eq!((stats.granted_pages, stats.quarantined_pages), (5, 5));
    // With the liar its mappings go, and its pages come back.
    pair.guests[1].vmc.platform_mut().end();
    pair.pass_alone(0, 20 * SECOND);
    let stats = pair.guests[0].vmc.statistics();
    assert_eq!((stats.granted_pages, stats.quarantined_pages), (0, 0));
}

#[test]
fn a_peer_that_never_unmaps_cannot_drain_the_guest() {
    let mut pair = Pair::linked();
    let liar = pair.guests[1].vmc.platform().domid();
    let mut host = pair.host.borrow_mut();
    host.make_hostile(liar, &Tamper::new(0), true);
    drop(host);
    // Half of 256 pages are granted to one domain at most, and 4 links that it keeps. Each round
    // leaves a ring of 5 in quarantine, or a link of 9, or both.
    for _ in 0..60 {
        pair.pump(0, 0, 10);
        pair.guests[0].vmc.leave(LeaveReason::Migrating);
        pair.pass(3 * SECOND);
        pair.guests[0].vmc.renew();
        pair.run();
        pair.reconnect();
    }
    let quarantined = pair.guests[0].vmc.statistics().quarantined_pages;
    assert!((100..=137).contains(&quarantined), "{quarantined}");
}

#[test]
fn a_ring_is_read_up_to_the_next_ones_base_only() {
    let mut victim = Victim::linked();
    let (conn, tcp) = victim.connect();
    let now = victim.clock.get();
    let domid = victim.vmc.platform().domid();
    for (number, base) in [(0, 0), (1, 50)] {
        let references = victim.peer.ring(domid, 2);
        let mut payload = vec![number, 0, 0, 0];
        payload.extend(references.iter().flat_map(|number| number.to_le_bytes()));
        victim.peer.message(RING, &payload);
        // Each ring claims 100 bytes, so the first goes beyond the second's
        // base.
        let ring = &victim.peer.rings[usize::from(number)];
        for offset in [0x80, 0x90] {
            ring.store(offset, base);
        }
        ring.write(PAGE, &[number + 1; 100]);
        ring.store(0, base + 100);
        let ends = [Victim::REMOTE, Victim::LOCAL];
        victim.peer.switch(number.into(), ends, base);
    }
    victim.turn();
    let mut got = Vec::new();
    let mut into = [0; 80];
    while let Ok(Received::Bytes(count)) =
        victim
            .vmc
            .read(conn, &mut Socket::new(&tcp, 0, now), &mut into)
    {
        got.extend_from_slice(&into[..count]);
    }
    assert_eq!(got[..50], [1; 50]);
    assert_eq!(got[50..], [2; 100]);
}

#[test]
fn a_welcome_for_another_hello_is_dropped() {
    let mut victim = Victim::alone();
    victim.vmc.greet(Victim::LINK);
    victim.turn();
    let hello = victim.outputs.iter().find_map(|output| match output {
        Output::Datagram { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    let mut hello = hello.expect("a HELLO");
    // A domain that has not seen the HELLO does not know the nonce.
    hello[24] ^= 1;
    let welcome = victim.peer.welcome(&hello).expect("pages to grant");
    victim.vmc.datagram(Victim::LINK, &welcome);
    victim.turn();
    assert_eq!(victim.vmc.peer(Victim::LINK), PeerState::Asking);
    assert_eq!(victim.vmc.platform().holdings(), Holdings::default());
}

#[test]
fn a_resume_for_a_link_that_is_up_ends_nothing() {
    let mut victim = Victim::linked();
    let resume = victim.peer.resume(&[]);
    victim.vmc.datagram(Victim::LINK, &resume);
    victim.turn();
    assert_eq!(victim.vmc.peer(Victim::LINK), PeerState::Linked);
    assert_eq!(victim.vmc.statistics().datagrams_dropped, 1);
}

#[test]
fn a_resume_tells_nothing_of_other_peers() {
    let mut victim = Victim::linked();
    victim.connect();
    victim.peer.freeze();
    let (other, port) = (IpAddr::from([10, 0, 0, 3]), Victim::REMOTE.1);
    let tuple = FourTuple {
        local: Victim::LOCAL.into(),
        remote: (other, port).into(),
    };
    victim.vmc.track(tuple, 0, 0, false).expect("room");
    victim.outputs.clear();
    let resume = victim.peer.resume(&[([(other, port), Victim::LOCAL], 0)]);
    victim.vmc.datagram(Victim::LINK, &resume);
    victim.turn();
    assert_eq!(victim.vmc.statistics().ended(Cause::WrongAddress), 1);
    let answers: Vec<_> = victim
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Datagram { bytes, .. } => Some(bytes.len()),
            _ => None,
        })
        .collect();
    assert!(answers.iter().all(|len| *len == 40), "{answers:?}");
    assert!(!answers.is_empty(), "it is answered");
}

#[test]
fn a_wrong_proof_makes_no_link() {
    let mut pair = Pair::new();
    pair.greet(0);
    pair.turn(0);
    pair.turn(1);
    // WELCOME has arrived; the proof is spoilt before the owner looks.
    pair.turn(0);
    pair.turn(1);
    let mapper = pair.guests[0].vmc.platform().domid();
    let pages = pair.host.borrow().shared_pages(mapper);
    let magic = u64::from_le_bytes(*b"XVMCLINK");
    let control = pages.iter().find(|page| page.load(0) == magic);
    control.expect("a control page").write(0x80, &[0; 16]);
    pair.run();
    assert_eq!(pair.guests[1].vmc.statistics().links, 0);
    pair.pass(SECOND);
    assert_eq!(pair.holdings(), (0, 0));
}

#[test]
fn the_uuid_of_another_guest_replaces_nothing() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    // A third domain of this host claims to be guest 1.
    let address = IpAddr::from([10, 0, 0, 3]);
    let mut third = Vmc::new(Dom::boot(&pair.host, &pair.clock, 3), config(1));
    third.set_addresses(&[address]);
    let link = vmc::Pair {
        local: address,
        remote: pair.guests[1].address,
    };
    third.greet(link);
    for _ in 0..4 {
        while let Some(output) = third.output() {
            if let Output::Datagram { bytes, .. } = output {
                pair.guests[1].vmc.datagram(link.flipped(), &bytes);
            }
        }
        pair.run();
        for output in pair.take_outputs(1) {
            if let Output::Datagram { pair, bytes } = output
                && pair.remote == address
            {
                third.datagram(link, &bytes);
            }
        }
        let links: Vec<_> = third.links().map(|(link, _)| link).collect();
        for link in links {
            third.event(link);
        }
        third.flush();
    }
    assert_eq!(pair.guests[1].vmc.peer(link.flipped()), PeerState::Linked);
    assert_eq!(pair.guests[1].vmc.statistics().failed, 0);
    assert_eq!(pair.pump(0, 10, 10), Pair::pattern(10, 10));
}
