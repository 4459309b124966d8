//! Guests with several addresses, and addresses that change. A link joins two guests, whatever
//! addresses they have (design rule R19).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use embedded_io_async::{Read, Write};
use smoltcp::wire::{IpCidr, Ipv4Cidr, Ipv6Cidr};

use super::meeting::{Meeting, connect, datagrams, link, meet};
use super::{TIMEOUT, statistics};
use crate::addressing::{Addressing, link_local};
use crate::error::{ConnectError, StreamError};
use crate::options::TcpOptions;
use crate::tests::world::{A4, A6, B4, B6, World, join, mac};

/// Addresses of A and B in another subnet.
const OTHER: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 2, 1), Ipv4Addr::new(10, 0, 2, 2)];

/// The IPv4 addresses of A and B, by number.
const FOUR: [Ipv4Addr; 2] = [A4, B4];

/// What A and B get in the place of these.
const NEW: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 8), Ipv4Addr::new(10, 0, 0, 9)];

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn neighbours(seed: u64) -> World {
    let mut world = World::new(seed);
    world.share_memory_with(seed, "vmc=advance");
    world
}

/// The addresses of host `index`, of one family each.
fn of(index: usize) -> [IpAddr; 2] {
    match index {
        0 => [A4.into(), A6.into()],
        _ => [B4.into(), B6.into()],
    }
}

fn failed(world: &World) -> [u64; 2] {
    [world.a(), world.b()].map(|guest| statistics(&guest).failed)
}

/// Whoever makes the first contact of each family, and whichever family is first.
#[test]
fn the_other_family_joins_the_link_and_resets_nothing() {
    for variant in 0..8_usize {
        let [family, first, second] = [variant & 1, variant >> 1 & 1, variant >> 2];
        let mut world = neighbours(100 + variant as u64);
        let to = 1 - first;
        let mut old = meet(&mut world, first, to, at(of(to)[family], 7));
        assert!(old.is_on_rings());
        let to = 1 - second;
        let mut new = meet(&mut world, second, to, at(of(to)[1 - family], 8));
        for _ in 0..3 {
            old.talk(&mut world, 200_000);
            new.talk(&mut world, 200_000);
            assert!(old.is_on_rings() && new.is_on_rings(), "{variant}");
            world.pass(Duration::from_secs(40));
        }
        for guest in [world.a(), world.b()] {
            let counted = statistics(&guest);
            assert_eq!(
                (counted.links, counted.failed, counted.fallbacks),
                (1, 0, 0)
            );
            assert!(link(&guest).sent > 1_000_000);
        }
        old.end(&mut world);
        new.end(&mut world);
    }
}

/// Both families at the same instant, by both guests.
#[test]
fn first_contacts_that_cross_make_one_link() {
    for seed in 110..120 {
        let mut world = neighbours(seed);
        let options = TcpOptions::default();
        let guests = [world.a(), world.b()];
        let mut listeners = [0, 1].map(|index| guests[index].listen(7, 8, options).unwrap());
        let [to_a, to_b] = &mut listeners;
        let (ends, met) = world.run(join(
            async {
                let mut streams = Vec::new();
                for family in 0..2 {
                    for (from, to) in [(0, 1), (1, 0)] {
                        let connect = guests[from].connect(at(of(to)[family], 7), options, TIMEOUT);
                        streams.push(connect.await.unwrap());
                    }
                }
                streams
            },
            async {
                let mut streams = Vec::new();
                for _ in 0..2 {
                    streams.push(to_b.accept().await);
                    streams.push(to_a.accept().await);
                }
                streams
            },
        ));
        world.pass(Duration::from_millis(100));
        for (mut client, mut served) in ends.into_iter().zip(met) {
            world.run(async {
                let mut buf = [0; 3];
                client.write_all(b"abc").await.unwrap();
                served.read_exact(&mut buf).await.unwrap();
                served.write_all(&buf).await.unwrap();
                client.read_exact(&mut buf).await.unwrap();
            });
        }
        assert_eq!(failed(&world), [0, 0]);
        for guest in &guests {
            assert_eq!(statistics(guest).upgrades, 4, "seed {seed}");
            link(guest);
        }
    }
}

/// As many addresses as an interface may have, of both families: as many pairs on one link.
#[test]
fn every_address_joins_the_link() {
    let mut world = neighbours(120);
    let learned =
        |network: u16| [1, 2].map(|last| Ipv6Addr::new(0xfd01, network, 0, 0, 0, 0, 0, last));
    for (index, host) in world.hosts.iter().enumerate() {
        let mut more: Vec<IpCidr> = [1, 2]
            .map(|network| IpCidr::Ipv6(Ipv6Cidr::new(learned(network)[index], 64)))
            .into();
        more.push(IpCidr::Ipv4(Ipv4Cidr::new(OTHER[index], 24)));
        host.shared.with(|stack| {
            more.into_iter()
                .for_each(|address| stack.add_address(address))
        });
    }
    let pairs: [[IpAddr; 2]; 6] = [
        [A4.into(), B4.into()],
        [OTHER[0].into(), OTHER[1].into()],
        [A6.into(), B6.into()],
        [link_local(mac(0)).into(), link_local(mac(1)).into()],
        learned(1).map(IpAddr::V6),
        learned(2).map(IpAddr::V6),
    ];
    let mut meetings = Vec::new();
    for (number, pair) in pairs.into_iter().enumerate() {
        let to = number % 2;
        let port = 10 + number as u16;
        meetings.push(meet(&mut world, 1 - to, to, at(pair[to], port)));
    }
    let before = world.carried;
    for meeting in &mut meetings {
        meeting.talk(&mut world, 100_000);
        assert!(meeting.is_on_rings());
    }
    // What the addresses' announcements take, at most.
    assert!(world.carried < before + 20);
    for guest in [world.a(), world.b()] {
        let counted = statistics(&guest);
        assert_eq!((counted.links, counted.upgrades, counted.failed), (1, 6, 0));
    }
    // Another connection to each needs no network at all.
    world.pass(Duration::from_secs(20));
    let before = world.carried;
    for (number, pair) in pairs.into_iter().enumerate() {
        let to = number % 2;
        let again = meet(&mut world, 1 - to, to, at(pair[to], 20 + number as u16));
        assert!(again.is_on_rings());
        again.end(&mut world);
        datagrams(&mut world, 1 - to, to, at(pair[to], 30));
    }
    assert_eq!(world.carried, before);
}

/// Gives host `index` another IPv4 address; the one of IPv6 stays.
fn change(world: &World, index: usize) {
    let [_, IpAddr::V6(ipv6)] = of(index) else {
        panic!("the second is of IPv6");
    };
    world.hosts[index].shared.with(|stack| {
        stack.set_addresses(&Addressing {
            ipv4: Some((NEW[index], 24)),
            ipv6: Some((ipv6, 64)),
            ..Addressing::default()
        });
        stack.kick();
    });
}

/// Reads from both ends of a connection until they have failed.
fn failure(world: &mut World, meeting: &mut Meeting) -> [StreamError; 2] {
    let Meeting { client, served, .. } = meeting;
    let mut bufs = [[0; 9], [0; 9]];
    let [one, other] = &mut bufs;
    let (one, other) = world.run(join(
        async { client.read(one).await.unwrap_err() },
        // It has bytes under way, so that it notices at all.
        async {
            let _ = served.write_all(b"anybody there?").await;
            served.read(other).await.unwrap_err()
        },
    ));
    [one, other]
}

#[test]
fn an_address_that_changes_takes_its_own_connections_and_no_other() {
    for stays in [1, 0] {
        let changed = 1 - stays;
        let mut world = neighbours(130 + changed as u64);
        // The one whose address changes is the client of the connection that ends.
        let mut old = meet(&mut world, changed, stays, at(FOUR[stays], 7));
        let mut other = meet(&mut world, stays, changed, at(of(changed)[1], 8));
        world.pass(Duration::from_secs(5));
        change(&world, changed);
        world.pass(Duration::from_millis(20));
        let fallbacks = statistics(&world.hosts[stays].shared).fallbacks;
        other.talk(&mut world, 300_000);
        assert!(other.is_on_rings());
        // The new address, in both directions, at once.
        for (port, from, to) in [(9, stays, changed), (10, changed, stays)] {
            let address = if to == changed { NEW[to] } else { FOUR[to] };
            let mut new = meet(&mut world, from, to, at(address, port));
            assert!(new.is_on_rings(), "to {address}");
            new.talk(&mut world, 100_000);
            new.end(&mut world);
            datagrams(&mut world, from, to, at(address, port));
        }
        assert_eq!(
            failure(&mut world, &mut old),
            [StreamError::AddressLost, StreamError::TimedOut]
        );
        drop(old);
        // And ten minutes later.
        for round in 0..12_u16 {
            world.pass(Duration::from_secs(60));
            let mut new = meet(&mut world, stays, changed, at(NEW[changed], 20 + round));
            assert!(new.is_on_rings());
            new.talk(&mut world, 1000);
            new.end(&mut world);
            other.talk(&mut world, 1000);
        }
        assert!(other.is_on_rings());
        for guest in [world.a(), world.b()] {
            assert_eq!(statistics(&guest).links, 1);
        }
        let counted = statistics(&world.hosts[stays].shared);
        assert_eq!(counted.fallbacks, fallbacks, "nothing fell back afterwards");
    }
}

/// The address alone joined the guests. Nothing is left, and the new one makes another link.
#[test]
fn the_only_address_that_changes_ends_the_link() {
    for changed in 0..2 {
        let mut world = neighbours(140 + changed as u64);
        let stays = 1 - changed;
        let _old = meet(&mut world, stays, changed, at(FOUR[changed], 7));
        change(&world, changed);
        world.pass(Duration::from_secs(1));
        for guest in [world.a(), world.b()] {
            let counted = statistics(&guest);
            assert_eq!((counted.granted_pages, counted.mapped_pages), (0, 0));
        }
        let new = meet(&mut world, stays, changed, at(NEW[changed], 8));
        assert!(new.is_on_rings());
        assert_eq!(failed(&world), [0, 0]);
    }
}

/// Somebody else has the address afterwards: connections and datagrams go there, at once and ever
/// after, and none goes to the guest that had it.
#[test]
fn an_address_that_another_host_gets_is_reached_there() {
    for (changed, first) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = neighbours(150 + 2 * changed as u64 + first as u64);
        let stays = 1 - changed;
        let to = 1 - first;
        meet(&mut world, first, to, at(FOUR[to], 7)).end(&mut world);
        change(&world, changed);
        world.pass(Duration::from_millis(20));
        let heir = world.add_host(FOUR[changed]);
        // It announces itself.
        world.pass(Duration::from_secs(1));
        for round in 0..12_u16 {
            let to_heir = connect(&mut world, stays, heir, at(FOUR[changed], 8 + round));
            let mut to_heir = match to_heir {
                Ok(meeting) => meeting,
                Err(error) => panic!("{changed} {first}, round {round}: {error}"),
            };
            to_heir.talk(&mut world, 1000);
            to_heir.end(&mut world);
            datagrams(&mut world, stays, heir, at(FOUR[changed], 30 + round));
            world.pass(Duration::from_secs(60));
        }
    }
}

/// Nobody has the address afterwards, and the peer is not told: the guest that lost it has no link
/// any more. What is sent there ends in a time-out, not on a link.
#[test]
fn an_address_that_nobody_has_is_a_time_out() {
    let mut world = neighbours(160);
    let mut other = meet(&mut world, 0, 1, at(B6, 7));
    meet(&mut world, 0, 1, at(B4, 8)).end(&mut world);
    change(&world, 1);
    world.pass(Duration::from_millis(20));
    let frames = super::frames(&world.a());
    let gone = connect(&mut world, 0, 1, at(B4, 9));
    assert_eq!(gone.err(), Some(ConnectError::TimedOut));
    assert_eq!(super::frames(&world.a()), frames);
    other.talk(&mut world, 1000);
    assert!(other.is_on_rings());
}
