//! Frames that no honest peer sends: the stack must stay alive and answer afterwards.

use alloc::vec::Vec;
use core::time::Duration;

use embedded_io_async::{Read, Write};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber,
};

use super::world::{A4, B4, B6, World, b, join, mac};
use crate::options::{Buffers, TcpOptions};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Records real frames of a short conversation from A to B, as raw material.
fn recorded() -> Vec<Vec<u8>> {
    let mut world = World::new(77);
    let _listener = world.b().listen(7, 4, TcpOptions::default()).unwrap();
    let a = world.a();
    let socket = a.bind_udp(0).unwrap();
    world.run(async {
        for to in [b(7), (B6, 7).into()] {
            let mut stream = a.connect(to, TcpOptions::default(), TIMEOUT).await.unwrap();
            stream.write_all(b"some data").await.unwrap();
            stream.shutdown_write();
            socket
                .send_to(b"datagram", (to.ip(), 9).into())
                .await
                .unwrap();
        }
    });
    a.with(|stack| stack.announcer.restart());
    world.pass(Duration::from_millis(10));
    assert!(world.recorded.len() > 10);
    world.recorded
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutated_frames_do_no_harm(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..10),
    ) {
        let frames = recorded();
        let mut world = World::new(5);
        let mut listener = world.b().listen(7, 4, TcpOptions::default()).unwrap();
        let inbox = &mut world.hosts[1].wire.inbox;
        for (frame, at, value) in &edits {
            let mut frame = frame.get(&frames).clone();
            let at = at.index(frame.len());
            frame[at] = *value;
            inbox.push_back(frame);
        }
        for cut in &cuts {
            let frame = cut.get(&frames);
            inbox.push_back(frame[..cut.index(frame.len())].to_vec());
        }
        for bytes in &noise {
            let mut frame = mac(1).0.to_vec();
            frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x08, 0x00]);
            frame.extend_from_slice(bytes);
            inbox.push_back(frame);
        }
        // The noise may have opened connections, which are in the backlog, and may have lied to
        // ARP: let the connections fail and the ARP entries expire (60 s).
        world.pass(Duration::from_secs(90));
        let a = world.a();
        let answered = world.run(async {
            let client = async {
                let mut stream = a.connect(b(7), TcpOptions::default(), TIMEOUT).await.unwrap();
                stream.write_all(b"alive?").await.unwrap();
                let mut buf = [0; 6];
                stream.read_exact(&mut buf).await.unwrap();
                buf
            };
            let server = async {
                loop {
                    let mut stream = listener.accept().await;
                    let mut buf = [0; 6];
                    if stream.read_exact(&mut buf).await.is_ok() {
                        stream.write_all(&buf).await.unwrap();
                        return;
                    }
                }
            };
            join(client, server).await.0
        });
        proptest::prop_assert_eq!(&answered, b"alive?");
    }
}

/// Returns sequence number and acknowledgement of a frame, if it is a TCP segment over IPv4.
fn numbers(frame: &[u8]) -> Option<(i32, i32)> {
    let ip = Ipv4Packet::new_checked(frame.get(14..)?).ok()?;
    if ip.next_header() != IpProtocol::Tcp {
        return None;
    }
    let segment = TcpPacket::new_checked(ip.payload()).ok()?;
    Some((segment.seq_number().0, segment.ack_number().0))
}

/// Makes of a segment from A to B one from B to A, with one byte of data and these numbers.
fn forge(original: &[u8], seq: i32, ack: i32) -> Vec<u8> {
    let ip = Ipv4Packet::new_unchecked(&original[14..]);
    let from = TcpPacket::new_unchecked(ip.payload());
    let checksums = ChecksumCapabilities::default();
    let tcp = TcpRepr {
        src_port: from.dst_port(),
        dst_port: from.src_port(),
        control: TcpControl::None,
        seq_number: TcpSeqNumber(seq),
        ack_number: Some(TcpSeqNumber(ack)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"x",
    };
    let packet = Ipv4Repr {
        src_addr: B4,
        dst_addr: A4,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = alloc::vec![0; 14 + 20 + tcp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(mac(1));
    frame.set_dst_addr(mac(0));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut out = Ipv4Packet::new_unchecked(frame.payload_mut());
    packet.emit(&mut out, &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(out.payload_mut()),
        &IpAddress::from(B4),
        &IpAddress::from(A4),
        &checksums,
    );
    bytes
}

/// A forger that does not know the numbers of a connection has to guess as well as for any other
/// segment: what he may be off by is the size of the socket's buffers, not that of the largest.
#[test]
fn a_forged_acknowledgement_takes_nothing_away() {
    let size = 16 * 1024;
    let options = TcpOptions {
        buffers: Buffers::both(size),
        ..TcpOptions::default()
    };
    let (window, queued) = (size as i32, 5000);
    for (behind, beyond, taken) in [
        (1 << 20, 4500, false),
        (4 << 20, 4500, false),
        (window + 2, 4500, false),
        (100, queued + 2, false),
        (100, 1 << 20, false),
        // What a peer may send whose acknowledgements were lost.
        (100, 4500, true),
        (window - 1, queued, true),
    ] {
        let mut world = World::new(9);
        let (a, server) = (world.a(), world.b());
        let mut listener = server.listen(7, 4, options).unwrap();
        let (mut stream, _served) = world.run(join(
            async { a.connect(b(7), options, TIMEOUT).await.unwrap() },
            listener.accept(),
        ));
        world.pass(Duration::from_secs(1));
        world.recorded.clear();
        // Nothing arrives, and A has gone back to the first byte.
        world.faults.lose = 1000;
        world.run(async { stream.write_all(&[7; 5000]).await.unwrap() });
        world.pass(Duration::from_millis(1500));
        let sent = world
            .recorded
            .iter()
            .rfind(|frame| numbers(frame).is_some());
        let (seq, ack) = numbers(sent.unwrap()).unwrap();
        let first = world.recorded.iter().find_map(|frame| numbers(frame));
        let unacknowledged = first.unwrap().0;
        assert!(seq.wrapping_sub(unacknowledged) <= queued, "gone back");
        let forged = forge(
            sent.unwrap(),
            ack.wrapping_sub(behind),
            unacknowledged.wrapping_add(beyond),
        );
        world.hosts[0].wire.inbox.push_back(forged);
        world.pass(Duration::from_millis(1));
        let left = stream.unacknowledged();
        let expected = if taken { queued - beyond } else { queued };
        assert_eq!(left, expected as usize, "{behind} behind, {beyond} beyond");
    }
}
