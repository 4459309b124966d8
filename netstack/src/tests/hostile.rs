//! Frames that no honest peer sends: the stack must stay alive and answer afterwards.

use alloc::vec::Vec;
use core::time::Duration;

use embedded_io_async::{Read, Write};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::world::{B6, World, b, join, mac};
use crate::options::TcpOptions;

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
