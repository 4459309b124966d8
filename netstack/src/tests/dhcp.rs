//! A lease: obtained, renewed, applied, lost. The server is made by hand of smoltcp's wire format.

use alloc::vec;
use alloc::vec::Vec;
use core::future::Future;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use super::world::{World, mac};
use crate::addressing::Addressing;
use crate::options::Limits;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 50);
const SERVER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

/// Returns the server's reply to a frame of the client, if that is a DHCP request.
fn reply(frame: &[u8], lease: u32) -> Option<(DhcpMessageType, Vec<u8>)> {
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
        DhcpMessageType::Request => DhcpMessageType::Ack,
        _ => return None,
    };
    let mut servers = smoltcp::wire::DhcpRepr {
        message_type,
        your_ip: LEASED,
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

/// Returns the server's answer to an ARP request for its address.
fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Arp {
        return None;
    }
    let packet = ArpPacket::new_checked(frame.payload()).ok()?;
    let ArpRepr::EthernetIpv4 {
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    if target_protocol_addr != SERVER {
        return None;
    }
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: SERVER_MAC,
        source_protocol_addr: SERVER,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let mut bytes = vec![0; 14 + reply.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(SERVER_MAC);
    frame.set_dst_addr(source_hardware_addr);
    frame.set_ethertype(EthernetProtocol::Arp);
    reply.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    Some(bytes)
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
            host.wire.inbox.extend(arp_reply(&frame));
        }
        let addresses = a.with(|stack| stack.addresses());
        assert_eq!(addresses.contains(&(IpAddr::V4(LEASED), 24)), step > 1);
    }
    // At half of the lease, three times in 100 s.
    assert_eq!(renewed, 3);
}

#[test]
fn waiting_for_a_lease_can_be_bounded() {
    let mut world = World::bare(2, Limits::default());
    let (a, clock) = (world.a(), world.clock.clone());
    a.start_dhcp(Addressing::default(), None);
    let leased = world.run(async {
        let mut deadline = core::pin::pin!(clock.sleep(Duration::from_secs(30)));
        core::future::poll_fn(|cx| {
            if a.poll_lease(cx).is_ready() {
                return core::task::Poll::Ready(true);
            }
            deadline.as_mut().poll(cx).map(|()| false)
        })
        .await
    });
    assert!(!leased);
    // DISCOVER every 3 s, however long it takes, and three announcements of the link-local address.
    assert!((13..=15).contains(&world.carried), "{}", world.carried);
}
