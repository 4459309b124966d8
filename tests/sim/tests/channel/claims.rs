//! False claims about addresses, domains and identities.

use std::net::IpAddr;

use sim::puppet::Peer;
use vmc::wire::datagram::{Kind, Refusal};
use vmc::{Cause, PeerState};

use super::victim::Victim;

/// Kinds of messages (docs/protocol.md, "Messages on the link").
const ADDRESS: u8 = 14;
const PROVED: u8 = 15;
const LOST: u8 = 16;

const SECOND: u64 = 1_000_000_000;

/// Encodes an IPv4 address as in a message.
fn address(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    if let IpAddr::V4(ipv4) = address {
        bytes[..4].copy_from_slice(&ipv4.octets());
    }
    bytes
}

/// Sends ADDRESS or PROVED for a pair, seen from the peer, with secrets that are wrong.
fn claim(peer: &mut Peer, kind: u8, sender: IpAddr, receiver: IpAddr) {
    let mut payload = vec![4, 0, 0, 0];
    payload.extend(address(sender));
    payload.extend(address(receiver));
    payload.extend([1; 16]);
    if kind == PROVED {
        payload.extend([2; 16]);
    }
    peer.message(kind, &payload);
}

#[test]
fn an_address_without_its_secret_is_not_added() {
    let mut victim = Victim::linked();
    let (mut other, pair) = victim.another(3);
    victim.link_with(&mut other, pair);
    let (own, unused) = (Victim::LINK.local, IpAddr::from([10, 0, 0, 99]));
    for sender in [unused, pair.remote] {
        claim(&mut victim.peer, ADDRESS, sender, own);
        claim(&mut victim.peer, PROVED, sender, own);
        victim.turn();
    }
    let stats = victim.vmc.statistics();
    assert_eq!(stats.ended(Cause::WrongAddress), 2, "PROVED is counted");
    let unused = Victim::pair_with(unused);
    assert_eq!(victim.vmc.peer(unused), PeerState::Unknown);
    // What was proved stands as it was: the other guest's address is the other's.
    other.vanish();
    victim.pass(5 * SECOND);
    assert_eq!(victim.vmc.peer(pair), PeerState::Unknown);
    assert_eq!(victim.vmc.peer(Victim::LINK), PeerState::Linked);
}

#[test]
fn an_address_is_lost_by_its_owner_alone() {
    let mut victim = Victim::linked();
    let (mut other, pair) = victim.another(3);
    victim.link_with(&mut other, pair);
    let lost = |of: IpAddr| [&[4, 0, 0, 0], &address(of)[..]].concat();
    for of in [pair.remote, Victim::LINK.local] {
        victim.peer.message(LOST, &lost(of));
    }
    victim.turn();
    assert_eq!(victim.vmc.peer(pair), PeerState::Linked);
    assert_eq!(victim.vmc.peer(Victim::LINK), PeerState::Linked);
    victim.peer.message(LOST, &lost(Victim::PEER));
    victim.pass(SECOND);
    assert_eq!(victim.vmc.statistics().ended(Cause::Left), 1);
    assert_eq!(victim.vmc.peer(pair), PeerState::Linked);
}

#[test]
fn a_claim_of_another_domain_gets_nothing() {
    let mut victim = Victim::linked();
    let (mut other, pair) = victim.another(3);
    victim.link_with(&mut other, pair);
    let granted = victim.vmc.statistics().granted_pages;
    // The domain of a guest with a link is asked, and it alone could answer.
    let unused = Victim::pair_with(IpAddr::from([10, 0, 0, 99]));
    assert_eq!(victim.greeted_by(&mut other, unused), None);
    assert_eq!(victim.vmc.peer(unused), PeerState::Unknown);
    // With another identity nobody is asked.
    other.uuid = [9; 16];
    let answer = victim.greeted_by(&mut other, unused);
    let refused = Kind::Refused(Refusal::NotCoResident);
    assert_eq!(answer.map(|answer| answer.kind), Some(refused));
    assert_eq!(victim.vmc.statistics().granted_pages, granted);
    assert_eq!(victim.vmc.peer(pair), PeerState::Linked);
}
