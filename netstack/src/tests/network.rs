//! What the network takes over from its device.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;

use embedded_io_async::{Read, Write};
use smoltcp::wire::EthernetAddress;

use super::pattern;
use super::world::{A4, World, b, join, mac};
use crate::addressing::{Addressing, link_local};
use crate::autoconf::tests::advertisement;
use crate::options::{Limits, TcpOptions};

/// Records the length of every frame that goes to B.
fn lengths(world: &mut World) -> Rc<RefCell<alloc::vec::Vec<usize>>> {
    let lengths = Rc::new(RefCell::new(alloc::vec::Vec::new()));
    let shared = lengths.clone();
    world.third = Some(Box::new(move |_, frame| {
        shared.borrow_mut().push(frame.len());
        None
    }));
    lengths
}

#[test]
fn a_device_with_another_mtu_gets_frames_that_fit() {
    let mut world = World::new(3);
    let lengths = lengths(&mut world);
    let (client, server) = (world.a(), world.b());
    let mut listener = server.listen(7, 4, TcpOptions::default()).unwrap();
    let connecting = client.connect(b(7), TcpOptions::default(), Duration::from_secs(10));
    let (stream, accepted) = world.run(join(connecting, listener.accept()));
    let (mut stream, mut accepted) = (stream.unwrap(), accepted);
    let data = pattern(200_000);
    let mut longest = [0; 2];
    for (round, frame) in [1514, 1294].into_iter().enumerate() {
        let now = world.clock.now();
        let host = &mut world.hosts[0];
        host.wire.frame = frame;
        let wire = &mut host.wire;
        client.with(|stack| {
            stack.take_device(wire, mac(0), now);
            stack.network_is_back();
        });
        lengths.borrow_mut().clear();
        let mut received = alloc::vec![0; data.len()];
        let (sent, read) = world.run(join(
            stream.write_all(&data),
            accepted.read_exact(&mut received),
        ));
        sent.unwrap();
        read.unwrap();
        assert!(received == data, "the bytes of round {round}");
        longest[round] = *lengths.borrow().iter().max().unwrap();
    }
    assert_eq!(longest, [1514, 1294]);
    let addresses = client.with(|stack| stack.addresses());
    assert!(addresses.contains(&(IpAddr::V4(A4), 24)), "{addresses:?}");
}

#[test]
fn another_hardware_address_is_announced() {
    let mut world = World::new(4);
    let seen = Rc::new(RefCell::new(alloc::vec::Vec::new()));
    let shared = seen.clone();
    world.third = Some(Box::new(move |_, frame| {
        shared.borrow_mut().push(frame[6..12].to_vec());
        None
    }));
    world.pass(Duration::from_secs(5));
    let other = EthernetAddress([0x00, 0x16, 0x3e, 9, 9, 9]);
    let now = world.clock.now();
    seen.borrow_mut().clear();
    let (a, wire) = (world.a(), &mut world.hosts[0].wire);
    a.with(|stack| {
        stack.take_device(wire, other, now);
        stack.network_is_back();
        stack.kick();
    });
    world.pass(Duration::from_secs(5));
    // Three times three addresses: IPv4, IPv6, and the link-local one.
    assert_eq!(*seen.borrow(), alloc::vec![other.0.to_vec(); 9]);
    let addresses = a.with(|stack| stack.addresses());
    assert!(addresses.contains(&(IpAddr::V6(link_local(other)), 64)));
    assert!(!addresses.contains(&(IpAddr::V6(link_local(mac(0))), 64)));
}

#[test]
fn a_router_that_comes_late_gives_an_address_and_a_route() {
    let mut world = World::bare(5, Limits::default());
    let solicited = Rc::new(RefCell::new(0));
    let shared = solicited.clone();
    world.third = Some(Box::new(move |now, frame| {
        let is_solicitation =
            frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(54) == Some(&133);
        if !is_solicitation {
            return None;
        }
        *shared.borrow_mut() += 1;
        // The first solicitations are lost on it, as while the router boots.
        (now > Duration::from_secs(50)).then(|| advertisement(1800, 3600))
    }));
    let a = world.a();
    a.with(|stack| stack.set_addresses(&Addressing::default()));
    a.start_autoconf();
    world.pass(Duration::from_secs(55));
    let remote = "2001:db8:ffff::1".parse().unwrap();
    assert_eq!(*solicited.borrow(), 4);
    assert!(!a.with(|stack| stack.reachable(remote)));
    world.pass(Duration::from_secs(10));
    let expected = "2001:db8:0:1:216:3eff:fe00:1".parse().unwrap();
    let addresses = a.with(|stack| stack.addresses());
    assert!(addresses.contains(&(expected, 64)), "{addresses:?}");
    assert!(a.with(|stack| stack.reachable(remote)));
    // All of it ran out while the guest was away.
    let now = world.clock.now();
    a.with(|stack| stack.time_passed(Duration::from_secs(3600), now));
    let addresses = a.with(|stack| stack.addresses());
    assert!(!addresses.contains(&(expected, 64)), "{addresses:?}");
    assert!(!a.with(|stack| stack.reachable(remote)));
}
