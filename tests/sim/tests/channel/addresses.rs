//! The addresses of a link: proved one pair at a time, lost one pair at a time
//! (docs/protocol.md, "More addresses").

use std::net::{IpAddr, SocketAddr};

use sim::xen::{Dom, Holdings};
use vmc::wire::Message;
use vmc::{Cause, FourTuple, Output, PeerState, Platform, Vmc};

use super::pair::{Guest, Pair, config};
use super::victim::Victim;

const SECOND: u64 = 1_000_000_000;

/// The second address of guest `at`: of the other family.
fn second(at: usize) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, at as u16 + 1])
}

/// Returns the second pair as guest `at` sees it.
fn second_pair(at: usize) -> vmc::Pair {
    vmc::Pair {
        local: second(at),
        remote: second(1 - at),
    }
}

/// Gives both guests their second addresses.
fn with_two_addresses(pair: &mut Pair) {
    for at in 0..2 {
        let guest = &mut pair.guests[at];
        guest.vmc.set_addresses(&[guest.address, second(at)]);
    }
}

/// Returns two guests with a link between their first addresses, a connection on
/// rings in both directions, and second addresses that nobody has used.
fn dual_stack() -> Pair {
    let mut pair = Pair::linked();
    with_two_addresses(&mut pair);
    assert_eq!(pair.pump(0, 0, 100), Pair::pattern(0, 100));
    assert_eq!(pair.pump(1, 0, 100), Pair::pattern(0, 100));
    assert_eq!((pair.sent_by_tcp(0), pair.sent_by_tcp(1)), (0, 0));
    for at in 0..2 {
        pair.take_outputs(at);
    }
    pair
}

fn failed(guest: &Guest) -> u64 {
    guest.vmc.statistics().failed
}

#[test]
fn a_second_pair_of_addresses_joins_the_link_and_disturbs_nothing() {
    for asks in 0..2 {
        let mut pair = dual_stack();
        let holdings = pair.holdings();
        pair.guests[asks].vmc.greet(second_pair(asks));
        pair.run();
        for at in 0..2 {
            let guest = &pair.guests[at];
            assert_eq!(guest.vmc.peer(second_pair(at)), PeerState::Linked);
            assert_eq!(guest.vmc.links().count(), 1, "a link joins two guests");
            assert_eq!(failed(guest), 0);
            let outputs = pair.take_outputs(at);
            let up = Output::LinkUp {
                pair: second_pair(at),
            };
            assert_eq!(outputs.iter().filter(|output| **output == up).count(), 1);
        }
        assert_eq!(pair.holdings(), holdings, "nothing more is granted");
        assert_eq!(pair.pump(0, 100, 5000), Pair::pattern(100, 5000));
        assert_eq!(pair.pump(1, 100, 5000), Pair::pattern(100, 5000));
        assert_eq!((pair.sent_by_tcp(0), pair.sent_by_tcp(1)), (0, 0));
    }
}

#[test]
fn both_may_ask_for_the_second_pair_at_once() {
    let mut pair = dual_stack();
    for at in 0..2 {
        pair.guests[at].vmc.greet(second_pair(at));
    }
    pair.run();
    for at in 0..2 {
        assert_eq!(pair.guests[at].vmc.peer(second_pair(at)), PeerState::Linked);
    }
    assert_eq!(pair.guests[0].vmc.links().count(), 1);
}

#[test]
fn a_connection_between_second_addresses_uses_the_link_once_they_are_proved() {
    let mut pair = dual_stack();
    for at in 0..2 {
        let tuple = FourTuple {
            local: SocketAddr::new(second(at), 100 + at as u16),
            remote: SocketAddr::new(second(1 - at), 101 - at as u16),
        };
        pair.guests[at].vmc.forget(pair.conn(at));
        pair.guests[at].conn = pair.guests[at].vmc.track(tuple, 0, 0, false);
    }
    pair.tcp = super::pair::established(pair.clock.get());
    let before = pair.guests[0].vmc.statistics().upgrades;
    assert_eq!(pair.pump(0, 0, 50), Pair::pattern(0, 50));
    assert_eq!(pair.sent_by_tcp(0), 50, "the pair is not proved");
    pair.guests[1].vmc.greet(second_pair(1));
    pair.run();
    assert_eq!(pair.pump(0, 50, 50), Pair::pattern(50, 50));
    assert_eq!(pair.sent_by_tcp(0), 50);
    assert_eq!(pair.guests[0].vmc.statistics().upgrades, before + 1);
}

#[test]
fn an_address_that_is_lost_takes_its_connections_to_the_network_and_no_other() {
    for loses in 0..2 {
        let mut pair = dual_stack();
        pair.guests[0].vmc.greet(second_pair(0));
        pair.run();
        // The second addresses go: nothing happens to the connection.
        let guest = &mut pair.guests[loses];
        guest.vmc.set_addresses(&[guest.address]);
        pair.run();
        for at in 0..2 {
            let state = pair.guests[at].vmc.peer(second_pair(at));
            assert_ne!(state, PeerState::Linked);
            let outputs = pair.take_outputs(at);
            let down = Output::PairDown {
                pair: second_pair(at),
            };
            assert!(outputs.contains(&down), "{outputs:?}");
        }
        assert_eq!(pair.pump(0, 100, 500), Pair::pattern(100, 500));
        assert_eq!(pair.sent_by_tcp(0), 0);
        // The first one goes: the connection falls back, and not a byte is lost.
        let bytes = Pair::pattern(600, 300);
        assert_eq!(pair.write(0, &bytes), Ok(300));
        pair.guests[loses].vmc.set_addresses(&[second(loses)]);
        pair.run();
        pair.advance(0);
        pair.run();
        assert_eq!(pair.read_all(1).0, bytes);
        assert_eq!(pair.pump(0, 900, 100), Pair::pattern(900, 100));
        assert_eq!(pair.pump(1, 100, 100), Pair::pattern(100, 100));
        assert!(pair.sent_by_tcp(0) >= 100);
        assert_eq!((failed(&pair.guests[0]), failed(&pair.guests[1])), (0, 0));
        // A link without addresses is left, and everything is free.
        pair.pass(2 * SECOND);
        assert!(pair.guests.iter().all(|guest| guest.vmc.is_alone()));
        assert_eq!(pair.holdings(), (0, 0));
    }
}

#[test]
fn a_frame_to_an_address_that_is_gone_is_answered_by_lost() {
    let mut pair = dual_stack();
    pair.guests[0].vmc.greet(second_pair(0));
    pair.run();
    // Guest 1 is another one of this name now: it has never had the address.
    let link = second_pair(0);
    let mut frame = [0; 80];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    let IpAddr::V6(source) = link.local else {
        unreachable!("the second address is one of IPv6")
    };
    frame[22..38].copy_from_slice(&source.octets());
    frame[38..54].copy_from_slice(&[0xfd; 16]);
    assert!(pair.guests[0].vmc.send_frame(link, &frame));
    pair.run();
    let stats = pair.guests[1].vmc.statistics();
    assert_eq!(stats.ended(Cause::WrongAddress), 1);
    assert_eq!(pair.peer(0), PeerState::Linked, "the link stays");
}

#[test]
fn somebody_who_claims_a_linked_guests_domid_gets_nothing() {
    let mut pair = dual_stack();
    let holdings = pair.holdings();
    // A third host says that it is guest 0, under an address of its own, and
    // receives there.
    let address = IpAddr::from([10, 0, 9, 9]);
    let clock = pair.clock.clone();
    let domid = pair.guests[0].vmc.platform().domid();
    let mut forger = Victim::alone();
    forger.peer.uuid = config(1).uuid.0;
    let link = vmc::Pair {
        local: pair.guests[1].address,
        remote: address,
    };
    for _ in 0..4 {
        let mut hello = forger.peer.hello();
        hello[6..8].copy_from_slice(&domid.to_le_bytes());
        pair.guests[1].vmc.datagram(link, &hello);
        pair.run();
        for output in pair.take_outputs(1) {
            if let Output::Datagram { bytes, .. } = output {
                forger.peer.take_challenge(&bytes);
            }
        }
    }
    assert!(clock.get() > 0);
    assert_eq!(pair.holdings(), holdings);
    assert_eq!(pair.guests[1].vmc.peer(link), PeerState::Unknown);
    assert_eq!(pair.pump(0, 100, 100), Pair::pattern(100, 100));
}

#[test]
fn a_wrong_cookie_or_nonce_proves_no_address() {
    let mut victim = Victim::linked();
    let other = vmc::Pair {
        local: Victim::LINK.remote,
        remote: Victim::LINK.local,
    };
    let stolen = vmc::Pair {
        local: IpAddr::from([10, 0, 0, 77]),
        ..other
    };
    for _ in 0..3000 {
        for message in [
            Message::Address {
                pair: stolen,
                nonce_a: [7; 16],
            },
            Message::Proved {
                pair: stolen,
                nonce_a: [7; 16],
                cookie: [9; 16],
            },
        ] {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            victim.peer.say(&bytes);
        }
        victim.turn();
    }
    assert_eq!(victim.vmc.peer(stolen.flipped()), PeerState::Unknown);
    assert_eq!(victim.vmc.peer(Victim::LINK), PeerState::Linked);
    assert_eq!(victim.vmc.links().count(), 1);
}

#[test]
fn more_links_than_places_are_never_up() {
    let pair = Pair::new();
    let (host, clock) = (pair.host.clone(), pair.clock.clone());
    let mut server = Vmc::new(Dom::boot(&host, &clock, 9), config(9));
    let own = IpAddr::from([10, 0, 0, 9]);
    server.set_addresses(&[own]);
    let mut clients: Vec<Guest> = (20..32)
        .map(|number| {
            let address = IpAddr::from([10, 0, 0, number]);
            let dom = Dom::boot(&host, &clock, number.into());
            let mut vmc = Vmc::new(dom, config(number));
            vmc.set_addresses(&[address]);
            vmc.greet(vmc::Pair {
                local: address,
                remote: own,
            });
            Guest {
                vmc,
                address,
                conn: None,
                outputs: Vec::new(),
            }
        })
        .collect();
    for _ in 0..12 {
        let mut for_server = Vec::new();
        for client in &mut clients {
            serve(&mut client.vmc);
            while let Some(output) = client.vmc.output() {
                if let Output::Datagram { pair, bytes } = output {
                    for_server.push((pair.flipped(), bytes));
                }
            }
            client.vmc.flush();
        }
        for (pair, bytes) in for_server {
            server.datagram(pair, &bytes);
        }
        serve(&mut server);
        let mut for_clients = Vec::new();
        while let Some(output) = server.output() {
            if let Output::Datagram { pair, bytes } = output {
                for_clients.push((pair.flipped(), bytes));
            }
        }
        server.flush();
        for (pair, bytes) in for_clients {
            let mut clients = clients.iter_mut();
            let client = clients.find(|client| client.address == pair.local);
            client.expect("a client").vmc.datagram(pair, &bytes);
        }
    }
    assert_eq!(server.report().links().count(), config(9).max_peers);
    clock.set(clock.get() + 3 * SECOND);
    serve(&mut server);
    let pages = server.statistics().granted_pages + server.statistics().mapped_pages;
    let holds = server.platform().holdings();
    assert_eq!(pages, holds.grants + holds.maps);
    assert_eq!(
        holds.grants,
        9 * config(9).max_peers,
        "refused ones cost nothing"
    );
    assert_ne!(holds, Holdings::default());
}

/// Serves events and timers.
fn serve(vmc: &mut Vmc<Dom>) {
    let links = vmc.links();
    let rung = links.filter_map(|(link, port)| port.take_pending().then_some(link));
    for link in rung.collect::<Vec<_>>() {
        vmc.event(link);
    }
    vmc.poll();
}
