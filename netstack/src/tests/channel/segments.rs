//! Which segments take the link, and which netfront.

use core::time::Duration;

use embedded_io_async::{Read, Write};

use super::{TIMEOUT, connected, frames, leave, neighbours, renew, statistics};
use crate::options::TcpOptions;
use crate::tests::read_to_end;
use crate::tests::world::{TcpStream, World, b, join};

/// Closes both ends; returns the time that takes.
fn part(world: &mut World, client: TcpStream, served: TcpStream) -> smoltcp::time::Duration {
    let before = world.clock.now();
    let (one, other) = world.run(join(client.close(), served.close()));
    one.unwrap();
    other.unwrap();
    world.clock.now() - before
}

#[test]
fn a_connection_on_rings_alone_never_meets_netfront() {
    let mut world = neighbours(15);
    let first = connected(&mut world, 7, TcpOptions::default());
    // The guests' addresses are announced meanwhile.
    world.pass(Duration::from_secs(5));
    let (a, b) = (world.a(), world.b());
    let before = (world.carried, frames(&a), frames(&b));
    let (client, served) = connected(&mut world, 8, TcpOptions::default());
    let took = part(&mut world, client, served);
    world.pass(Duration::from_millis(1));
    for shared in [&a, &b] {
        // Only the first connection: the listeners are gone, and their spares with them.
        let sockets = shared.with(|stack| stack.tcp.usage().0);
        assert_eq!(sockets, 1, "nobody waits for late segments");
    }
    world.pass(Duration::from_secs(20));
    assert_eq!(world.carried, before.0);
    // SYN, its ACK, FIN, FIN's ACK; SYN-ACK, FIN, FIN's ACK: some may share a segment.
    assert!(frames(&a) - before.1 >= 3 && frames(&b) - before.2 >= 2);
    assert!(took.millis() == 0, "{took}");
    drop(first);
}

#[test]
fn a_connection_with_bytes_on_tcp_keeps_its_fin_on_netfront() {
    // The first connection of all begins before there is a link.
    let mut world = neighbours(16);
    let (client, served) = connected(&mut world, 7, TcpOptions::default());
    assert_eq!(statistics(&world.a()).upgrades, 1);
    let (a, b) = (world.a(), world.b());
    let before = (world.carried, frames(&a), frames(&b));
    part(&mut world, client, served);
    world.pass(Duration::from_millis(10));
    assert!(world.carried >= before.0 + 3, "FIN, FIN and their ACKs");
    assert_eq!((frames(&a), frames(&b)), (before.1, before.2));
}

/// Handshake on a link, bytes on TCP, then a link again: no segment goes back to it.
#[test]
fn one_segment_on_netfront_and_all_later_ones_take_it() {
    for leaver in 0..2 {
        let mut world = neighbours(17 + leaver as u64);
        let first = connected(&mut world, 7, TcpOptions::default());
        let guests = [world.a(), world.b()];
        let carried = world.carried;
        let (mut client, mut served) = connected(&mut world, 8, TcpOptions::default());
        assert_eq!(world.carried, carried);
        leave(&guests[leaver]);
        world.pass(Duration::from_millis(700));
        world.run(async {
            let mut buf = [0; 4];
            client.write_all(b"ping").await.unwrap();
            served.read_exact(&mut buf).await.unwrap();
            served.write_all(&buf).await.unwrap();
            client.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"ping");
        });
        renew(&guests[leaver]);
        world.pass(Duration::from_millis(50));
        let before = [frames(&guests[0]), frames(&guests[1])];
        assert_eq!(statistics(&guests[0]).links, 2, "the link is back");
        let took = part(&mut world, client, served);
        world.pass(Duration::from_millis(10));
        assert_eq!([frames(&guests[0]), frames(&guests[1])], before);
        assert!(took.millis() < 10, "{took}");
        drop(first);
    }
}

/// With and without bytes in a ring, nothing waits for a retransmission, which takes a second at
/// least.
#[test]
fn the_link_goes_down_between_handshake_and_fin() {
    for leaver in 0..2 {
        for writes in [false, true] {
            let mut world = neighbours(20 + leaver as u64);
            let first = connected(&mut world, 7, TcpOptions::default());
            let guests = [world.a(), world.b()];
            let mut listener = guests[1].listen(8, 4, TcpOptions::default()).unwrap();
            let (mut client, mut served) = world.run(join(
                async {
                    let connect = guests[0].connect(b(8), TcpOptions::default(), TIMEOUT);
                    connect.await.unwrap()
                },
                listener.accept(),
            ));
            if writes {
                world.run(client.write_all(b"unread")).unwrap();
            }
            let carried = world.carried;
            leave(&guests[leaver]);
            let took = if writes {
                world.run(async {
                    client.shutdown_write();
                    assert_eq!(read_to_end(&mut served).await, b"unread");
                });
                part(&mut world, client, served)
            } else {
                part(&mut world, client, served)
            };
            assert!(took.millis() < 10, "{leaver} {writes}: {took}");
            world.pass(Duration::from_secs(30));
            assert!(world.carried >= carried + 3, "FIN, FIN and their ACKs");
            for shared in &guests {
                assert_eq!(statistics(shared).failed, 0);
                let sockets = shared.with(|stack| stack.tcp.usage().0);
                // The first connection and, on the server's side, the two listeners' spares.
                assert!(sockets <= 3, "{sockets} sockets are left");
            }
            drop(first);
        }
    }
}
