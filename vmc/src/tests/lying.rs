//! What a hostile peer can do.

use std::net::IpAddr;

use super::pair::{Pair, config};
use crate::message::Message;
use crate::vms::control;
use crate::{Cause, Output, PeerState, Vmc};
use shared_memory::Memory;

fn down(pair: &mut Pair, at: usize) -> Option<Cause> {
    pair.take_outputs(at)
        .iter()
        .find_map(|output| match output {
            Output::LinkDown { cause, .. } => Some(*cause),
            _ => None,
        })
}

#[test]
fn bytes_that_are_no_message_end_the_link() {
    for bytes in [[0xff; 8], [0; 8], [4, 0, 12, 0, 0, 0, 0, 0]] {
        let mut pair = Pair::linked();
        let link = pair.guests[0].vmc.links.get_mut(0).expect("a link");
        let written = link.outbox.producer.write(&link.memory, &bytes);
        assert_eq!(written, Ok(8));
        link.note_messages();
        pair.run();
        // The last one is not complete: it is not an error yet.
        let expected = (bytes[0] != 4).then_some(Cause::BadMessage);
        assert_eq!(down(&mut pair, 1), expected);
    }
}

#[test]
fn messages_that_do_not_fit_the_state_end_the_link() {
    let bad = [
        Message::Released { your: 0 },
        Message::Retire { own: 3 },
        Message::Done { your: 7, offset: 0 },
        Message::Leave(crate::message::Leave::Answer),
    ];
    for message in bad {
        let mut pair = Pair::linked();
        let link = pair.guests[0].vmc.links.get_mut(0).expect("a link");
        link.post(&message);
        pair.run();
        assert_eq!(down(&mut pair, 1), Some(Cause::BadMessage), "{message:?}");
        pair.pass(1_000_000_000);
        assert_eq!(pair.host.holdings(), (0, 0));
    }
}

#[test]
fn an_index_that_lies_ends_the_link_and_its_connections_only() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    let link = pair.guests[0].vmc.links.get_mut(0).expect("a link");
    let ring = link.own[0].as_ref().expect("a ring");
    ring.memory.store(0, u64::MAX / 2);
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
    assert_eq!(down(&mut pair, 1), Some(Cause::Flood));
}

#[test]
fn a_peer_that_takes_no_messages_is_given_up() {
    let mut pair = Pair::linked();
    for _ in 0..2500 {
        let link = pair.guests[0].vmc.links.get_mut(0).expect("a link");
        link.post(&Message::Fallback {
            own: 0,
            reason: crate::message::Reason::Fallback,
        });
    }
    let mut passed = 0;
    while !pair.guests[0].vmc.is_alone() && passed < 100 {
        if let Some(at) = pair.guests[0].vmc.deadline() {
            pair.host.clock.set(at.0.max(pair.host.clock.get()));
        }
        pair.turn(0);
        passed += 1;
    }
    assert_eq!(down(&mut pair, 0), Some(Cause::Stuck));
}

#[test]
fn frames_of_others_are_dropped_and_own_ones_arrive() {
    let mut pair = Pair::linked();
    let to = pair.guests[1].address;
    let mut frame = [0; 60];
    frame[12] = 8;
    frame[26..30].copy_from_slice(&[10, 0, 0, 1]);
    assert!(pair.guests[0].vmc.send_frame(to, &frame));
    frame[29] = 9;
    assert!(pair.guests[0].vmc.send_frame(to, &frame));
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
    pair.pump(0, 0, 10);
    let link = pair.guests[1].vmc.links.get_mut(0).expect("a link");
    let kept = core::mem::take(&mut link.peers);
    pair.guests[0].vmc.leave(crate::LeaveReason::Migrating);
    pair.pass(3_000_000_000);
    let stats = pair.guests[0].vmc.statistics();
    assert_eq!((stats.granted_pages, stats.quarantined_pages), (0, 5));
    drop(kept);
}

#[test]
fn a_proof_that_is_wrong_is_no_link() {
    let mut pair = Pair::new();
    let to = pair.guests[1].address;
    pair.guests[0].vmc.greet(to);
    pair.turn(0);
    pair.turn(1);
    // WELCOME has come; the proof is spoilt before the owner looks.
    let link = pair.guests[0].vmc.links.get_mut(0).expect("a candidate");
    control::write_proof(&link.memory, &[0; 16]);
    pair.run();
    assert_eq!(pair.guests[1].vmc.statistics().links, 0);
    pair.pass(1_000_000_000);
    assert_eq!(pair.host.holdings(), (0, 0));
}

#[test]
fn a_uuid_that_is_anothers_replaces_nothing() {
    let mut pair = Pair::linked();
    pair.pump(0, 0, 10);
    // A third domain of this host claims to be guest 1.
    let address = IpAddr::from([10, 0, 0, 3]);
    let mut third = Vmc::new(pair.host.dom(3), config(1));
    third.greet(pair.guests[1].address);
    for _ in 0..4 {
        while let Some(output) = third.output() {
            if let Output::Datagram { bytes, .. } = output {
                pair.guests[1].vmc.datagram(address, &bytes);
            }
        }
        pair.run();
        for output in pair.take_outputs(1) {
            if let Output::Datagram { to, bytes } = output
                && to == address
            {
                third.datagram(pair.guests[1].address, &bytes);
            }
        }
        let links: std::vec::Vec<_> = third.links().map(|(link, _)| link).collect();
        for link in links {
            third.event(link);
        }
        third.flush();
    }
    assert_eq!(pair.guests[1].vmc.peer(address), PeerState::Linked);
    assert_eq!(pair.guests[1].vmc.statistics().failed, 0);
    assert_eq!(pair.pump(0, 10, 10), Pair::pattern(10, 10));
}
