//! Neighbours that do not answer, and those beside them: a dead one delays nobody else.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use embedded_io_async::{Read, Write};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
};

use super::world::{A4, A6, B4, B6, Shared, World, b, join, mac};
use crate::addressing::Addressing;
use crate::error::ConnectError;
use crate::options::{Buffers, TcpOptions};

const TIMEOUT: Duration = Duration::from_secs(30);

/// "At once", in milliseconds: a request for the neighbour's address and some round trips.
const AT_ONCE: i64 = 5;

/// The `number`th host of the IPv4 link that does not exist.
fn dead4(number: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 100 + number), 7).into()
}

/// The `number`th host of the IPv6 link that does not exist.
fn dead6(number: u8) -> SocketAddr {
    let number = u16::from(number);
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 100 + number), 7).into()
}

/// Runs `work` while `shared` tries to connect to each of `dead`, again and again.
fn beside<T>(
    world: &mut World,
    dead: &[SocketAddr],
    work: impl AsyncFnOnce() -> T,
) -> (T, Duration) {
    let (a, clock) = (world.a(), world.clock.clone());
    let attempts: Vec<_> = dead
        .iter()
        .map(|peer| {
            let (a, clock) = (a.clone(), clock.clone());
            let options = TcpOptions {
                buffers: Buffers::both(8 * 1024),
                ..TcpOptions::default()
            };
            alloc::boxed::Box::pin(async move {
                loop {
                    let attempt = a.connect(*peer, options, TIMEOUT).await;
                    assert_eq!(attempt.err(), Some(ConnectError::TimedOut));
                    clock.sleep(Duration::from_millis(100)).await;
                }
            })
        })
        .collect();
    world.run(async {
        let mut attempts = attempts;
        let mut work = core::pin::pin!(async {
            // The dead have their first requests out, and their second ones.
            clock.sleep(Duration::from_millis(1500)).await;
            let began = clock.now();
            let result = work().await;
            (result, (clock.now() - began).into())
        });
        core::future::poll_fn(|cx| {
            for attempt in &mut attempts {
                let _: core::task::Poll<()> = attempt.as_mut().poll(cx);
            }
            work.as_mut().poll(cx)
        })
        .await
    })
}

/// Connects to `peer`, and exchanges some bytes.
async fn talk(a: &Shared, b: &Shared, peer: SocketAddr) {
    let mut listener = b.listen(peer.port(), 4, TcpOptions::default()).unwrap();
    let client = async {
        let mut stream = a
            .connect(peer, TcpOptions::default(), TIMEOUT)
            .await
            .unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut buf = [0; 4];
        stream.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"pong");
    };
    let server = async {
        let mut stream = listener.accept().await;
        let mut buf = [0; 4];
        stream.read_exact(&mut buf).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
        stream
    };
    join(client, server).await;
}

fn at_once(took: Duration) {
    assert!(took.as_millis() <= AT_ONCE as u128, "took {took:?}");
}

#[test]
fn a_new_neighbour_is_reached_beside_a_dead_one() {
    for (dead, alive) in [
        ([dead4(0)], b(7)),
        ([dead6(0)], (B6, 7).into()),
        ([dead4(0)], (B6, 7).into()),
        ([dead6(0)], b(7)),
    ] {
        let mut world = World::new(1);
        let (a, server) = (world.a(), world.b());
        let ((), took) = beside(&mut world, &dead, async || talk(&a, &server, alive).await);
        at_once(took);
    }
}

#[test]
fn several_dead_neighbours_delay_nobody() {
    let mut world = World::new(2);
    let (a, server) = (world.a(), world.b());
    let dead: Vec<_> = (0..20)
        .flat_map(|number| [dead4(number), dead6(number)])
        .collect();
    let ((), took) = beside(&mut world, &dead, async || {
        talk(&a, &server, b(7)).await;
        talk(&a, &server, (B6, 8).into()).await;
    });
    at_once(took);
}

/// One socket, whose first datagrams go to nobody.
#[test]
fn datagrams_to_the_dead_hold_up_no_others() {
    for (dead, alive) in [(dead4(0), b(9)), (dead6(0), (B6, 9).into())] {
        let mut world = World::new(3);
        let (a, server, clock) = (world.a(), world.b(), world.clock.clone());
        let socket = a.bind_udp(0).unwrap();
        let receiver = server.bind_udp(9).unwrap();
        world.run(async {
            for round in 0..4u8 {
                // More than the socket's queue holds.
                for _ in 0..50 {
                    socket.send_to(b"nobody", dead).await.unwrap();
                }
                let began = clock.now();
                socket.send_to(&[round], alive).await.unwrap();
                let mut buf = [0; 10];
                assert_eq!(receiver.recv_from(&mut buf).await.unwrap().0, 1);
                assert_eq!(buf[0], round);
                at_once((clock.now() - began).into());
                clock.sleep(Duration::from_millis(700)).await;
            }
        });
    }
}

#[test]
fn a_dead_gateway_stops_no_traffic_on_the_link() {
    let mut world = World::new(4);
    let (a, server) = (world.a(), world.b());
    a.with(|stack| {
        stack.set_addresses(&Addressing {
            ipv4: Some((A4, 24)),
            gateway4: Some(Ipv4Addr::new(10, 0, 0, 99)),
            ipv6: Some((A6, 64)),
            gateway6: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 99)),
        });
    });
    let beyond = [
        (Ipv4Addr::new(192, 0, 2, 1), 7).into(),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 7).into(),
    ];
    let ((), took) = beside(&mut world, &beyond, async || {
        talk(&a, &server, b(7)).await;
        talk(&a, &server, (B6, 8).into()).await;
    });
    at_once(took);
}

#[test]
fn a_dead_dns_server_delays_nobody() {
    let mut world = World::new(5);
    let (a, server, clock) = (world.a(), world.b(), world.clock.clone());
    let nobody = dead4(3).ip();
    a.with(|stack| stack.resolver.set_configured(&[nobody, B4.into()]));
    world.run(async {
        let lookup = async { a.resolve("host.example").await };
        let others = async {
            clock.sleep(Duration::from_millis(2500)).await;
            let began = clock.now();
            talk(&a, &server, b(7)).await;
            at_once((clock.now() - began).into());
        };
        join(lookup, others).await.0.unwrap_err()
    });
}

/// The channel asks the same socket's way whether there is a Causeway at an address that a datagram
/// claims to come from.
#[test]
fn a_dead_address_does_not_silence_the_channel() {
    let mut world = World::new(6);
    world.share_memory(6);
    let (a, server) = (world.a(), world.b());
    a.with(|stack| {
        let channel = stack.channel.as_mut().unwrap();
        for number in 0..3 {
            for (local, dead) in [(A4.into(), dead4(number)), (A6.into(), dead6(number))] {
                channel.greet(vmc::Pair {
                    local,
                    remote: dead.ip(),
                });
            }
        }
    });
    world.pass(Duration::from_millis(100));
    let ((), _) = beside(&mut world, &[], async || talk(&a, &server, b(7)).await);
    world.pass(Duration::from_millis(100));
    let links = a.with(|stack| stack.channel.as_ref().unwrap().vmc.statistics().links);
    assert_eq!(links, 1, "HELLO did not get through");
}

/// The neighbour is away for a quarter of an hour, in which the guest keeps asking for it and for
/// others.
#[test]
fn a_neighbour_that_comes_back_is_reached() {
    let mut world = World::new(7);
    let back = Duration::from_secs(900);
    world.dark.push(Duration::ZERO..back);
    let (a, server, clock) = (world.a(), world.b(), world.clock.clone());
    let socket = a.bind_udp(0).unwrap();
    let receiver = server.bind_udp(9).unwrap();
    let came = world.run(async {
        let sender = async {
            for second in 0..910u32 {
                for to in [dead4(0), dead6(0), b(9)] {
                    let bytes = second.to_be_bytes();
                    socket.send_to(&bytes, to).await.unwrap();
                }
                clock.sleep(Duration::from_secs(1)).await;
            }
        };
        let reader = async {
            let mut buf = [0; 4];
            receiver.recv_from(&mut buf).await.unwrap();
            clock.now()
        };
        join(sender, reader).await.1
    });
    let took = came - smoltcp::time::Instant::from_secs(900);
    assert!(took.total_millis() <= 1100, "{took}");
}

/// Returns an ARP request for A's address, as if from the host `number`.
fn forged(number: u32) -> Vec<u8> {
    let [_, _, x, y] = number.to_be_bytes();
    let liar = EthernetAddress([2, 0, 0, 1, x, y]);
    arp_request(liar, Ipv4Addr::new(10, 0, x, y))
}

/// Returns an ARP request for A's address that says that `from` is at `liar`.
fn arp_request(liar: EthernetAddress, from: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: liar,
        source_protocol_addr: from,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: A4,
    };
    let mut bytes = alloc::vec![0; 14 + arp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(liar);
    frame.set_dst_addr(mac(0));
    frame.set_ethertype(EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

/// A world whose IPv4 link has room for 65,534 hosts.
fn wide(seed: u64) -> World {
    let mut world = World::new(seed);
    for (host, ipv4) in [(0, A4), (1, B4)] {
        world.hosts[host].shared.with(|stack| {
            stack.set_addresses(&Addressing {
                ipv4: Some((ipv4, 16)),
                ..Addressing::default()
            });
        });
    }
    world.pass(Duration::from_secs(5));
    world
}

/// Sends a datagram from A to B, both known to each other; returns the frames that it took.
fn datagram(world: &mut World) -> usize {
    let (a, server) = (world.a(), world.b());
    let socket = a.bind_udp(0).unwrap();
    let receiver = server.bind_udp(9).unwrap();
    let before = world.carried;
    world.run(async {
        socket.send_to(b"here", b(9)).await.unwrap();
        receiver.recv_from(&mut [0; 10]).await.unwrap();
    });
    world.carried - before
}

#[test]
fn a_flood_of_forged_requests_evicts_nobody_alive() {
    let mut world = wide(8);
    datagram(&mut world);
    assert_eq!(datagram(&mut world), 1, "B is known");
    for number in 0..5000 {
        world.hosts[0].wire.inbox.push_back(forged(1000 + number));
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(datagram(&mut world), 1, "B had to be asked for again");
}

/// Each of 5,000 hosts that do not exist seems to open a connection.
#[test]
fn a_flood_of_requests_from_nobody_delays_nobody() {
    let mut world = wide(9);
    let (a, server) = (world.a(), world.b());
    let _listener = a.listen(80, 4, TcpOptions::default()).unwrap();
    for number in 0..5000 {
        world.hosts[0].wire.inbox.push_back(syn(1000 + number));
    }
    let clock = world.clock.clone();
    world.run(async {
        clock.sleep(Duration::from_millis(1)).await;
        let began = clock.now();
        talk(&a, &server, b(7)).await;
        at_once((clock.now() - began).into());
    });
}

/// Returns a connection request to A's port 80, as if from the host `number`.
fn syn(number: u32) -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr};
    let [_, _, x, y] = number.to_be_bytes();
    let from = Ipv4Addr::new(10, 0, x, y);
    let tcp = TcpRepr {
        src_port: 1000,
        dst_port: 80,
        control: TcpControl::Syn,
        seq_number: smoltcp::wire::TcpSeqNumber(1),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: A4,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = alloc::vec![0; 14 + 20 + tcp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress([2, 0, 0, 1, x, y]));
    frame.set_dst_addr(mac(0));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let checksums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(packet.payload_mut()),
        &IpAddr::V4(from).into(),
        &IpAddr::V4(A4).into(),
        &checksums,
    );
    bytes
}

/// Sends a hundred datagrams, one a millisecond; returns how many are lost before one arrives.
fn lost(world: &mut World) -> u8 {
    let (a, server, clock) = (world.a(), world.b(), world.clock.clone());
    let socket = a.bind_udp(0).unwrap();
    let receiver = server.bind_udp(9).unwrap();
    let last = 100;
    world.run(async {
        for number in 0..last {
            socket.send_to(&[number], b(9)).await.unwrap();
            clock.sleep(Duration::from_millis(1)).await;
        }
    });
    // Whatever happened to the others, this one is heard of: it comes from B itself.
    let again = server.bind_udp(0).unwrap();
    world.run(async {
        again
            .send_to(&[last], (A4, socket.port()).into())
            .await
            .unwrap();
        let mut buf = [0; 10];
        socket.recv_from(&mut buf).await.unwrap();
        socket.send_to(&[last], b(9)).await.unwrap();
        receiver.recv_from(&mut buf).await.unwrap();
        buf[0]
    })
}

/// While the guest is moved its neighbour is replaced, and it hears nothing of that.
#[test]
fn a_neighbour_replaced_during_a_move_is_found_at_once() {
    let mut world = World::new(10);
    datagram(&mut world);
    let now = Duration::from_micros(world.clock.now().total_micros() as u64);
    world.dark.push(now..now + Duration::from_secs(5));
    world.replace_host(1);
    world.pass(Duration::from_secs(6));
    world.a().with(|stack| stack.network_is_back());
    let lost = lost(&mut world);
    assert!(lost <= 1, "{lost} lost");
}

/// A router that takes over for another says so to all (RFC 5227, RFC 5798 section 8.2).
#[test]
fn a_neighbour_that_announces_its_new_place_is_believed() {
    let mut world = World::new(11);
    datagram(&mut world);
    world.pass(Duration::from_secs(2));
    world.replace_host(1);
    world.pass(Duration::from_millis(10));
    assert_eq!(lost(&mut world), 0);
}

/// Says to A that B is somewhere else.
fn lie(world: &mut World) {
    let liar = arp_request(EthernetAddress([2, 0, 0, 1, 0, 0]), B4);
    world.hosts[0].wire.inbox.push_back(liar);
    world.pass(Duration::from_micros(1));
}

#[test]
fn a_lie_about_a_neighbour_diverts_little() {
    let mut world = World::new(12);
    world.pass(Duration::from_secs(5));
    assert_eq!(lost(&mut world), 0);
    // B has just been heard of.
    lie(&mut world);
    assert_eq!(lost(&mut world), 0);
    // It has been silent for some time, so it may have moved: it is asked.
    world.pass(Duration::from_secs(5));
    lie(&mut world);
    let lost = lost(&mut world);
    assert!(lost <= 1, "{lost} lost");
}

/// What waits for a neighbour waits for three seconds, and no longer.
#[test]
fn a_packet_waits_for_its_neighbour_for_three_seconds() {
    for (away, arrives) in [(1900, true), (3500, false)] {
        let mut world = World::new(13);
        let away = Duration::from_millis(away);
        world.dark.push(Duration::ZERO..away);
        let (a, server, clock) = (world.a(), world.b(), world.clock.clone());
        let socket = a.bind_udp(0).unwrap();
        let receiver = server.bind_udp(9).unwrap();
        let first = world.run(async {
            socket.send_to(b"early", b(9)).await.unwrap();
            clock.sleep(Duration::from_secs(10)).await;
            socket.send_to(b"late", b(9)).await.unwrap();
            let mut buf = [0; 10];
            receiver.recv_from(&mut buf).await.unwrap().0
        });
        assert_eq!(first == b"early".len(), arrives, "{away:?}");
    }
}

#[test]
fn a_datagram_that_goes_nowhere_any_more_holds_up_no_others() {
    let mut world = World::new(14);
    let (a, server, clock) = (world.a(), world.b(), world.clock.clone());
    let socket = a.bind_udp(0).unwrap();
    let receiver = server.bind_udp(9).unwrap();
    let addressing = Addressing {
        ipv4: Some((A4, 24)),
        gateway4: Some(B4),
        ..Addressing::default()
    };
    world.run(async {
        a.with(|stack| stack.set_addresses(&addressing));
        let beyond = Ipv4Addr::new(192, 0, 2, 1);
        socket.send_to(b"beyond", (beyond, 7).into()).await.unwrap();
        a.with(|stack| {
            stack.set_addresses(&Addressing {
                gateway4: None,
                ..addressing
            });
        });
        let began = clock.now();
        socket.send_to(b"near", b(9)).await.unwrap();
        receiver.recv_from(&mut [0; 10]).await.unwrap();
        at_once((clock.now() - began).into());
    });
}

/// Each neighbour that does not answer is asked once a second, however much there is for it.
#[test]
fn a_dead_neighbour_is_asked_once_a_second() {
    let mut world = World::new(15);
    let (a, clock) = (world.a(), world.clock.clone());
    world.pass(Duration::from_secs(5));
    let socket = a.bind_udp(0).unwrap();
    let before = world.carried;
    world.run(async {
        for _ in 0..200 {
            for to in [dead4(0), dead4(1), dead6(0)] {
                socket.send_to(b"nobody", to).await.unwrap();
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
    });
    let asked = world.carried - before;
    assert!((3 * 10..=3 * 11).contains(&asked), "{asked} requests");
}

#[test]
fn what_waits_for_neighbours_is_bounded() {
    let mut world = wide(16);
    let a = world.a();
    let socket = a.bind_udp(0).unwrap();
    let mut most = (0, 0, 0);
    for host in 0..600u32 {
        let [_, _, x, y] = (2000 + host).to_be_bytes();
        let dead = (Ipv4Addr::new(10, 0, x, y), 7).into();
        world.run(async {
            for _ in 0..20 {
                socket.send_to(&[7; 1400], dead).await.unwrap();
            }
        });
        world.hosts[0].wire.inbox.push_back(syn(3000 + host));
        world.hosts[0].wire.inbox.push_back(forged(4000 + host));
        world.poll_hosts();
        let (known, asked, bytes) = a.with(|stack| stack.ethernet.holdings());
        most = (most.0.max(known), most.1.max(asked), most.2.max(bytes));
    }
    let (known, asked, bytes) = most;
    assert!(known <= 512 && asked <= 256, "{known} known, {asked} asked");
    assert!((100_000..=128 * 1024).contains(&bytes), "{bytes} bytes");
    world.pass(Duration::from_secs(5));
    let (_, asked, bytes) = a.with(|stack| stack.ethernet.holdings());
    assert_eq!((asked, bytes), (0, 0), "given up after three seconds");
}
