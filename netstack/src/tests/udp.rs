//! Datagrams.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::world::{B6, World, b, join};
use crate::error::{BindError, DatagramError};

#[test]
fn datagrams_keep_their_boundaries() {
    let mut world = World::new(1);
    let (a, server) = (world.a(), world.b());
    let socket = server.bind_udp(7).unwrap();
    let client = a.bind_udp(0).unwrap();
    assert_eq!(server.bind_udp(7).err(), Some(BindError::InUse));
    world.run(async {
        let echo = async {
            let mut buf = [0; 2000];
            for _ in 0..4 {
                let (len, from) = socket.recv_from(&mut buf).await.unwrap();
                socket.send_to(&buf[..len], from).await.unwrap();
            }
        };
        let client = async {
            let mut buf = [0; 2000];
            for (to, len) in [(b(7), 0), (b(7), 1), (b(7), 1472), ((B6, 7).into(), 1452)] {
                client.send_to(&[9; 1500][..len], to).await.unwrap();
                let (back, from) = client.recv_from(&mut buf).await.unwrap();
                assert_eq!((back, from), (len, to));
            }
        };
        join(echo, client).await
    });
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let mut world = World::new(2);
    let a = world.a();
    let socket = a.bind_udp(0).unwrap();
    let send = |to: SocketAddr, len| {
        let socket = &socket;
        async move { socket.send_to(&[0; 70_000][..len], to).await }
    };
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7);
    world.run(async {
        assert_eq!(send(b(7), 1473).await, Err(DatagramError::TooLong(1472)));
        assert_eq!(send(nowhere, 1).await, Err(DatagramError::Unreachable));
        assert_eq!(send(b(0), 1).await, Err(DatagramError::InvalidAddress));
    });
}

#[test]
fn queues_are_bounded() {
    let mut world = World::new(3);
    let (a, server) = (world.a(), world.b());
    let socket = server.bind_udp(7).unwrap();
    let client = a.bind_udp(0).unwrap();
    world.run(async {
        // The sender waits while its queue is full; otherwise a hundred would not fit.
        for _ in 0..100 {
            client.send_to(&[1; 1000], b(7)).await.unwrap();
        }
    });
    world.pass(core::time::Duration::from_secs(2));
    world.run(async {
        let mut small = [0; 10];
        assert_eq!(
            socket.recv_from(&mut small).await,
            Err(DatagramError::Truncated(1000))
        );
        // The receiver has kept what fits into its queue, and still works.
        client.send_to(b"end", b(7)).await.unwrap();
        let mut buf = [0; 1000];
        let mut received = 1;
        while socket.recv_from(&mut buf).await.unwrap().0 != 3 {
            received += 1;
        }
        assert!((10..=32).contains(&received), "{received}");
    });
}
