//! A lease: obtained, renewed, applied, lost. The server is made by hand of smoltcp's wire format.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use super::world::{World, mac};
use crate::addressing::Addressing;
use crate::network::wait_for_lease;
use crate::options::Limits;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub(super) const LEASED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 50);
const SERVER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

/// Returns the server's reply to a frame of the client, if that is a DHCP request.
fn reply(frame: &[u8], lease: u32) -> Option<(DhcpMessageType, Vec<u8>)> {
    reply_with(frame, LEASED, lease, DhcpMessageType::Ack)
}

/// Returns the reply of a server that gives `address` and answers requests with `verdict`.
fn reply_with(
    frame: &[u8],
    address: Ipv4Addr,
    lease: u32,
    verdict: DhcpMessageType,
) -> Option<(DhcpMessageType, Vec<u8>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 || udp.dst_port() != 67 {
        return None;
    }
    let packet = DhcpPacket::new_checked(udp.payload()).ok()?;
    let request = DhcpRepr::parse(&packet).ok()?;
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => verdict,
        _ => return None,
    };
    let mut servers = smoltcp::wire::DhcpRepr {
        message_type,
        your_ip: address,
        server_ip: SERVER,
        router: Some(SERVER),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        server_identifier: Some(SERVER),
        lease_duration: Some(lease),
        requested_ip: None,
        client_identifier: None,
        parameter_request_list: None,
        max_size: None,
        additional_options: &[],
        ..request
    };
    let mut dns = heapless::Vec::new();
    dns.push(SERVER).unwrap();
    servers.dns_servers = Some(dns);
    Some((request.message_type, frame_of(&servers)))
}

fn frame_of(dhcp: &DhcpRepr<'_>) -> Vec<u8> {
    let udp = UdpRepr {
        src_port: 67,
        dst_port: 68,
    };
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: 8 + dhcp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; 14 + 20 + 8 + dhcp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(SERVER_MAC);
    frame.set_dst_addr(mac(0));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let checksums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &SERVER.into(),
        &Ipv4Addr::BROADCAST.into(),
        dhcp.buffer_len(),
        |payload| dhcp.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap(),
        &checksums,
    );
    bytes
}

#[test]
fn a_lease_is_applied_and_its_loss_noticed() {
    let mut world = World::bare(1, Limits::default());
    let a = world.a();
    a.start_dhcp(Addressing::default(), Some("relay".into()));
    let mut seen = Vec::new();
    // Play the server for 20 s of virtual time, then fall silent.
    for step in 0..2000u64 {
        let now = smoltcp::time::Instant::from_millis(step as i64 * 100);
        let host = &mut world.hosts[0];
        a.with(|stack| stack.poll(&mut host.wire, now));
        for frame in core::mem::take(&mut host.wire.outbox) {
            if step < 200
                && let Some((kind, answer)) = reply(&frame, 60)
            {
                seen.push(kind);
                host.wire.inbox.push_back(answer);
            }
        }
        let addresses = a.with(|stack| stack.addresses());
        let leased = addresses.contains(&(IpAddr::V4(LEASED), 24));
        match step {
            5 => {
                assert!(leased, "{addresses:?}");
                assert!(a.with(|stack| stack.reachable("192.0.2.1".parse().unwrap())));
            }
            // The lease of 60 s is over, and the server silent.
            1000 => assert!(!leased, "{addresses:?}"),
            _ => {}
        }
    }
    assert_eq!(seen, [DhcpMessageType::Discover, DhcpMessageType::Request]);
    assert!(!a.with(|stack| stack.reachable("192.0.2.1".parse().unwrap())));
}

#[test]
fn a_lease_is_renewed_with_its_server_alone() {
    let mut world = World::bare(3, Limits::default());
    let a = world.a();
    a.start_dhcp(Addressing::default(), None);
    let mut renewed = 0;
    for step in 0..1000u64 {
        let now = smoltcp::time::Instant::from_millis(step as i64 * 100);
        let host = &mut world.hosts[0];
        a.with(|stack| stack.poll(&mut host.wire, now));
        for frame in core::mem::take(&mut host.wire.outbox) {
            let is_alone = EthernetFrame::new_unchecked(&frame).dst_addr() == SERVER_MAC;
            if let Some((_, answer)) = reply(&frame, 60) {
                renewed += usize::from(is_alone);
                host.wire.inbox.push_back(answer);
            }
            host.wire.inbox.extend(arp_answer(&frame));
        }
        let addresses = a.with(|stack| stack.addresses());
        assert_eq!(addresses.contains(&(IpAddr::V4(LEASED), 24)), step > 1);
    }
    // At half of the lease, three times in 100 s.
    assert_eq!(renewed, 3);
}

/// A server on the link, and what it has heard.
pub(super) struct Server {
    pub(super) address: Ipv4Addr,
    lease: u32,
    verdict: DhcpMessageType,
    /// Whether it answers.
    answers: bool,
    heard: Vec<(Duration, DhcpMessageType)>,
    /// Frames that use the leased address: from it as a source, or announcing it.
    used: Vec<(Duration, Ipv4Addr)>,
}

/// Puts a server on the link of `world` that gives leases of `lease` seconds.
fn serve(world: &mut World, lease: u32) -> Rc<RefCell<Server>> {
    let server = Rc::new(RefCell::new(Server {
        address: LEASED,
        lease,
        verdict: DhcpMessageType::Ack,
        answers: true,
        heard: Vec::new(),
        used: Vec::new(),
    }));
    let shared = server.clone();
    world.third = Some(Box::new(move |now, frame| {
        let mut server = shared.borrow_mut();
        server
            .used
            .extend(source(frame).map(|source| (now, source)));
        if let Some(answer) = arp_answer(frame) {
            return Some(answer);
        }
        let (address, lease, verdict) = (server.address, server.lease, server.verdict);
        let (kind, answer) = reply_with(frame, address, lease, verdict)?;
        server.heard.push((now, kind));
        server.answers.then_some(answer)
    }));
    server
}

/// Returns the server's answer to an ARP request for its address, which a renewal begins with.
fn arp_answer(frame: &[u8]) -> Option<Vec<u8>> {
    let is_wanted = frame.get(12..14)? == [0x08, 0x06]
        && frame.get(20..22)? == [0, 1]
        && frame.get(38..42)? == SERVER.octets();
    if !is_wanted {
        return None;
    }
    let mut answer = frame.to_vec();
    answer[0..6].copy_from_slice(&frame[6..12]);
    answer[6..12].copy_from_slice(&SERVER_MAC.0);
    answer[21] = 2;
    answer[22..28].copy_from_slice(&SERVER_MAC.0);
    answer[28..32].copy_from_slice(&SERVER.octets());
    answer[32..42].copy_from_slice(&frame[22..32]);
    Some(answer)
}

/// Returns the IPv4 address that a frame uses as its sender's, by IPv4 or ARP.
fn source(frame: &[u8]) -> Option<Ipv4Addr> {
    let at = match frame.get(12..14)? {
        [0x08, 0x00] => 14 + 12,
        [0x08, 0x06] => 14 + 14,
        _ => return None,
    };
    let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes)).filter(|address| !address.is_unspecified())
}

/// Returns the IPv4 addresses of guest A.
fn ipv4(world: &World) -> Vec<Ipv4Addr> {
    let addresses = world.a().with(|stack| stack.addresses());
    let ipv4 = addresses
        .into_iter()
        .filter_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
    ipv4.collect()
}

/// Has guest A return after `away` in total, to a network that is back at once.
fn come_back(world: &World, away: Duration) {
    let now = world.clock.now();
    world.a().with(|stack| {
        stack.time_passed(away, now);
        stack.network_is_back();
        stack.kick();
    });
}

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 77);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_lease_that_ran_out_while_the_guest_was_away_is_neither_used_nor_announced() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 600);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(10));
    assert_eq!(ipv4(&world), [LEASED]);
    // Somebody else has the address, and the server is silent for a while.
    server.borrow_mut().used.clear();
    server.borrow_mut().answers = false;
    server.borrow_mut().address = OTHER;
    come_back(&world, seconds(3600));
    world.pass(seconds(20));
    assert_eq!(server.borrow().used, [], "the address is announced or used");
    assert_eq!(ipv4(&world), Vec::<Ipv4Addr>::new());
    server.borrow_mut().answers = true;
    world.pass(seconds(60));
    assert_eq!(ipv4(&world), [OTHER]);
}

#[test]
fn time_away_shortens_a_lease() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 600);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(10));
    server.borrow_mut().answers = false;
    come_back(&world, seconds(500));
    world.pass(seconds(80));
    assert_eq!(ipv4(&world), [LEASED], "10 s are left");
    world.pass(seconds(12));
    assert_eq!(ipv4(&world), Vec::<Ipv4Addr>::new());
}

#[test]
fn a_lease_is_confirmed_soon_after_time_away() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 600);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(10));
    server.borrow_mut().heard.clear();
    server.borrow_mut().used.clear();
    // A cancelled suspend: the network was never gone.
    let now = world.clock.now();
    world.a().with(|stack| stack.time_passed(seconds(30), now));
    world.a().with(|stack| stack.kick());
    world.pass(seconds(1));
    let heard: Vec<_> = server
        .borrow()
        .heard
        .iter()
        .map(|(_, kind)| *kind)
        .collect();
    assert_eq!(heard, [DhcpMessageType::Discover, DhcpMessageType::Request]);
    assert_eq!(server.borrow().used, [], "nothing has changed");
    // Confirmed: the lease counts from now on.
    server.borrow_mut().answers = false;
    world.pass(seconds(595));
    assert_eq!(ipv4(&world), [LEASED]);
    world.pass(seconds(10));
    assert_eq!(ipv4(&world), Vec::<Ipv4Addr>::new());
}

#[test]
fn a_moment_away_costs_no_message() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 600);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(10));
    server.borrow_mut().heard.clear();
    let now = world.clock.now();
    let moment = Duration::from_millis(300);
    world.a().with(|stack| stack.time_passed(moment, now));
    world.pass(seconds(10));
    assert!(server.borrow().heard.is_empty());
}

#[test]
fn another_network_gives_another_address() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 600);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(10));
    server.borrow_mut().address = OTHER;
    come_back(&world, Duration::from_millis(200));
    world.pass(seconds(5));
    assert_eq!(ipv4(&world), [OTHER]);
}

#[test]
fn a_refused_renewal_ends_the_lease() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 200);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(90));
    server.borrow_mut().verdict = DhcpMessageType::Nak;
    world.pass(seconds(15));
    assert_eq!(ipv4(&world), Vec::<Ipv4Addr>::new());
    server.borrow_mut().verdict = DhcpMessageType::Ack;
    server.borrow_mut().address = OTHER;
    world.pass(seconds(60));
    assert_eq!(ipv4(&world), [OTHER]);
}

#[test]
fn renewals_change_nothing() {
    let mut world = World::bare(1, Limits::default());
    let server = serve(&mut world, 200);
    world.a().start_dhcp(Addressing::default(), None);
    world.pass(seconds(3000));
    let server = server.borrow();
    assert!(server.heard.len() >= 25, "{:?}", server.heard);
    assert_eq!(ipv4(&world), [LEASED]);
    let announced = server.used.iter().filter(|(at, _)| *at < seconds(10));
    assert_eq!(announced.count(), 3);
}

#[test]
fn a_server_that_is_late_is_waited_for() {
    let mut world = World::bare(2, Limits::default());
    let server = serve(&mut world, 600);
    server.borrow_mut().answers = false;
    let (a, clock) = (world.a(), world.clock.clone());
    a.start_dhcp(Addressing::default(), None);
    let late = server.clone();
    let comes = async {
        clock.sleep(seconds(1800)).await;
        late.borrow_mut().answers = true;
    };
    world.run(super::world::join(
        wait_for_lease(&a, |pause| clock.sleep(pause)),
        comes,
    ));
    assert_eq!(ipv4(&world), [LEASED]);
    let took = Duration::from_micros(world.clock.now().total_micros() as u64);
    assert!(took < seconds(1860), "{took:?}");
    // With growing pauses: at one pace of 3 s there were 600.
    let heard = server.borrow().heard.len();
    assert!((20..60).contains(&heard), "{heard}");
}
