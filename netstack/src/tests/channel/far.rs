//! Only guests in networks that are near (`vmc_networks=`) are greeted and answered.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use embassy_futures::select::{Either, select};
use smoltcp::wire::{EthernetFrame, Ipv4Packet, UdpPacket};

use super::TIMEOUT;
use super::meeting::connect;
use super::router::{Router, subnets};
use super::statistics;
use crate::options::TcpOptions;
use crate::tests::world::World;

/// Returns the IPv4 address that a datagram of the channel goes to.
fn greeted(frame: &[u8]) -> Option<Ipv4Addr> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    (datagram.dst_port() == vmc::wire::PORT).then_some(packet.dst_addr())
}

/// Has host A connect to each of `to`, by a router behind which nobody answers; returns the
/// addresses that it greets.
fn greets(options: &str, to: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    let mut world = World::new(180);
    let router = Router::new(&subnets(&world, [198, 51, 100], [198, 51, 101], 24));
    world.share_memory_alone(180, options);
    let heard = Rc::new(RefCell::new(Vec::new()));
    let all = heard.clone();
    world.carrier = Some(Box::new(move |from, frame| {
        all.borrow_mut().extend(greeted(&frame));
        let mut carried = router.carry(from, frame);
        // The router answers; what it forwards arrives nowhere.
        carried.retain(|(to, _)| *to == from);
        carried
    }));
    let a = world.a();
    let clock = world.clock.clone();
    for &address in to {
        let to = SocketAddr::new(IpAddr::V4(address), 7);
        let attempt = a.connect(to, TcpOptions::default(), TIMEOUT);
        let tried = world.run(select(attempt, clock.sleep(Duration::from_secs(3))));
        assert!(matches!(tried, Either::Second(())));
    }
    let mut heard = heard.take();
    heard.dedup();
    heard
}

const PRIVATE: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 9);
const SHARED: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 9);
const PUBLIC: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 5), Ipv4Addr::new(192, 0, 2, 7)];
const ON_LINK: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

#[test]
fn hosts_far_away_are_not_greeted() {
    let all = [PRIVATE, PUBLIC[0], SHARED, PUBLIC[1]];
    assert_eq!(greets("vmc=advance", &all), [PRIVATE, SHARED]);
    // Nobody answers there, not even to a request for its hardware address.
    assert!(greets("vmc=advance", &[ON_LINK]).is_empty());
    assert_eq!(
        greets("vmc_networks=203.0.113.0/24,10.0.0.0/8", &all),
        [PUBLIC[0]]
    );
}

/// What A asks is answered only if A is near to B.
#[test]
fn hosts_far_away_are_not_answered() {
    for (options, links) in [
        ("vmc_networks=198.51.100.0/24", 1),
        ("vmc_networks=203.0.113.0/24", 0),
        ("vmc=advance", 0),
    ] {
        let mut world = World::new(181);
        let addresses = subnets(&world, [198, 51, 100], [198, 51, 101], 24);
        let router = Router::new(&addresses);
        world.share_memory_alone(181, "vmc_networks=198.51.101.0/24");
        world.add_channel(1, 182, options);
        world.carrier = Some(Box::new(move |from, frame| router.carry(from, frame)));
        let to = SocketAddr::new(addresses[1], 7);
        let mut met = connect(&mut world, 0, 1, to).ok().unwrap();
        world.pass(Duration::from_secs(3));
        met.talk(&mut world, 1000);
        let counted = [world.a(), world.b()].map(|guest| statistics(&guest).links);
        assert_eq!(counted, [links; 2], "{options}");
        let answered = statistics(&world.b()).datagrams > 0;
        assert_eq!(answered, links > 0, "{options}");
    }
}
