//! The sockets over shared memory: two stacks on one machine of the simulator, and an Ethernet link
//! for everything else.

mod addresses;
mod bounds;
mod far;
mod lost;
mod meeting;
mod router;
mod segments;
mod suspend;
mod task;

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;
use core::task::{Context, Waker};
use core::time::Duration;

use embedded_io_async::{Read, Write};
use vmc::{Cause, LeaveReason, Statistics};

use super::world::{PAIR, Shared, TcpStream, World, b, join};
use super::{pattern, read_to_end};
use crate::error::{ConnectError, StreamError};
use crate::options::{Buffers, TcpOptions};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a world with two guests on one machine.
fn neighbours(seed: u64) -> World {
    let mut world = World::new(seed);
    world.share_memory(seed);
    world
}

fn statistics(shared: &Shared) -> Statistics {
    shared.with(|stack| stack.channel.as_ref().unwrap().vmc.statistics())
}

async fn echo(mut stream: TcpStream) {
    let mut buf = [0; 3000];
    loop {
        match stream.read(&mut buf).await.unwrap() {
            0 => return stream.close().await.unwrap(),
            len => stream.write_all(&buf[..len]).await.unwrap(),
        }
    }
}

/// Sends `data` from A to B and back on one connection; returns what comes back.
fn round_trip(world: &mut World, data: &[u8], options: TcpOptions) -> Vec<u8> {
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(7, 4, options).unwrap();
    world.run(async {
        let client = async {
            let stream = a.connect(b(7), options, TIMEOUT).await.unwrap();
            let (mut read, mut write) = stream.split();
            let writer = async {
                for piece in data.chunks(5000) {
                    write.write_all(piece).await.unwrap();
                }
                write.shutdown();
            };
            let reader = read_to_end(&mut read);
            join(writer, reader).await.1
        };
        join(client, async { echo(listener.accept().await).await })
            .await
            .0
    })
}

#[test]
fn an_end_is_seen_in_front_of_unread_bytes() {
    for resets in [false, true] {
        let mut world = neighbours(8);
        let (a, server) = (world.a(), world.b());
        let mut listener = server.listen(7, 4, TcpOptions::default()).unwrap();
        let clock = world.clock.clone();
        world.run(async {
            let connected = a.connect(b(7), TcpOptions::default(), TIMEOUT);
            let (client, accepted) = join(connected, listener.accept()).await;
            let mut client = client.unwrap();
            let (mut read, mut write) = accepted.split();
            // Until the connection has moved to shared memory.
            let mut buf = [0; 3000];
            for _ in 0..50 {
                client.write_all(&[1; 3000]).await.unwrap();
                read.read_exact(&mut buf).await.unwrap();
                write.write_all(&buf).await.unwrap();
                client.read_exact(&mut buf).await.unwrap();
            }
            client.write_all(&[2; 2000]).await.unwrap();
            clock.sleep(Duration::from_secs(1)).await;
            if resets {
                client.abort();
                assert_eq!(read.ended().await, Err(StreamError::Reset));
                return;
            }
            client.shutdown_write();
            assert_eq!(read.ended().await, Ok(()));
            assert!(read_to_end(&mut read).await == [2; 2000]);
        });
        assert_eq!(statistics(&world.a()).upgrades, 1);
    }
}

#[test]
fn bytes_leave_tcp_for_shared_memory() {
    let mut world = neighbours(1);
    let data = pattern(600_000);
    let back = round_trip(&mut world, &data, TcpOptions::default());
    assert!(back == data);
    let (a, b) = (statistics(&world.a()), statistics(&world.b()));
    assert_eq!((a.upgrades, b.upgrades), (1, 1));
    // 1.2 MB would take more than 800 frames.
    assert!(world.carried < 200, "{} frames", world.carried);
}

#[test]
fn a_known_peer_answers_without_the_network() {
    let mut world = neighbours(2);
    assert!(round_trip(&mut world, b"first contact", TcpOptions::default()) == b"first contact");
    world.pass(Duration::from_secs(5));
    let before = (world.carried, world.clock.now());
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(8, 4, TcpOptions::default()).unwrap();
    let client = world.run(async {
        let client = async {
            let mut stream = a
                .connect(b(8), TcpOptions::default(), TIMEOUT)
                .await
                .unwrap();
            stream.write_all(b"ping").await.unwrap();
            let mut buf = [0; 4];
            stream.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"ping");
            stream
        };
        let server = async {
            let mut stream = listener.accept().await;
            let mut buf = [0; 4];
            stream.read_exact(&mut buf).await.unwrap();
            stream.write_all(&buf).await.unwrap();
            stream
        };
        join(client, server).await
    });
    assert_eq!((world.carried, world.clock.now()), before);
    drop(client);
}

#[test]
fn a_closed_port_refuses_as_before() {
    let mut world = neighbours(3);
    assert!(round_trip(&mut world, b"hello", TcpOptions::default()) == b"hello");
    let a = world.a();
    let refused = world.run(a.connect(b(9), TcpOptions::default(), TIMEOUT));
    assert_eq!(refused.unwrap_err(), ConnectError::Refused);
}

/// Makes a connection from A to B; both ends use shared memory.
fn connected(world: &mut World, port: u16, options: TcpOptions) -> (TcpStream, TcpStream) {
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(port, 4, options).unwrap();
    let (mut client, mut served) = world.run(join(
        async { a.connect(b(port), options, TIMEOUT).await.unwrap() },
        listener.accept(),
    ));
    // Once there is a link, the next write takes it.
    world.pass(Duration::from_millis(50));
    world.run(async {
        let mut buf = [0; 3];
        client.write_all(b"abc").await.unwrap();
        served.read_exact(&mut buf).await.unwrap();
        served.write_all(&buf).await.unwrap();
        client.read_exact(&mut buf).await.unwrap();
    });
    (client, served)
}

/// Returns the number of frames that a guest has sent by its links.
fn frames(shared: &Shared) -> u64 {
    shared.with(|stack| {
        let channel = stack.channel.as_ref().unwrap();
        let links = channel.vmc.report().links();
        links.map(|(_, link)| link.counters.frames_sent).sum()
    })
}

fn leave(shared: &Shared) {
    shared.with(|stack| {
        let channel = stack.channel.as_mut().unwrap();
        channel.vmc.leave(LeaveReason::Migrating);
        channel.kick();
    });
}

fn renew(shared: &Shared) {
    shared.with(|stack| {
        let channel = stack.channel.as_mut().unwrap();
        assert!(channel.vmc.is_alone());
        channel.vmc.renew();
        channel.kick();
    });
}

#[test]
fn half_close_lets_the_other_direction_go_on() {
    let mut world = neighbours(4);
    let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
    assert_eq!(statistics(&world.a()).upgrades, 1);
    world.run(async {
        client.write_all(b"question").await.unwrap();
        client.shutdown_write();
        assert_eq!(
            client.write(b"more").await.unwrap_err(),
            StreamError::WriteClosed
        );
        assert_eq!(read_to_end(&mut served).await, b"question");
        served.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        let (a, b) = join(served.close(), client.close()).await;
        a.unwrap();
        b.unwrap();
    });
    world.pass(Duration::from_secs(30));
    for shared in [world.a(), world.b()] {
        let sockets = shared.with(|stack| stack.tcp.usage().0);
        assert!(sockets <= 1, "{sockets} sockets are left");
    }
}

#[test]
fn an_abort_reaches_the_other_side() {
    let mut world = neighbours(5);
    let (client, mut served) = connected(&mut world, 7, TcpOptions::default());
    client.abort();
    let mut buf = [0; 5];
    let read = world.run(async { served.read(&mut buf).await });
    assert_eq!(read.unwrap_err(), StreamError::Reset);
}

#[test]
fn a_slow_reader_stops_the_writer_and_nobody_else() {
    let mut world = neighbours(6);
    let options = TcpOptions {
        buffers: Buffers::both(8 * 1024),
        ..TcpOptions::default()
    };
    let (mut slow, mut slow_end) = connected(&mut world, 7, options);
    let (mut quick, mut quick_end) = connected(&mut world, 8, options);
    let data = pattern(2_000_000);
    let clock = world.clock.clone();
    let written = core::cell::Cell::new(0);
    let (quick_data, slow_data) = world.run(async {
        let slow_writer = async {
            for piece in data.chunks(10_000) {
                slow.write_all(piece).await.unwrap();
                written.set(written.get() + piece.len());
            }
            slow.shutdown_write();
        };
        let quick_pair = async {
            let writer = async {
                quick.write_all(&data).await.unwrap();
                quick.shutdown_write();
            };
            let reader = read_to_end(&mut quick_end);
            let all = join(writer, reader).await.1;
            // The slow connection holds no more than its rings and buffers do.
            assert!(written.get() < 1_000_000, "{} written", written.get());
            all
        };
        let slow_reader = async {
            clock.sleep(Duration::from_secs(20)).await;
            read_to_end(&mut slow_end).await
        };
        let (quick_data, (slow_data, ())) = join(quick_pair, join(slow_reader, slow_writer)).await;
        (quick_data, slow_data)
    });
    assert!(quick_data == data && slow_data == data);
}

#[test]
fn a_reader_that_never_reads_times_the_writer_out() {
    let mut world = neighbours(7);
    let options = TcpOptions {
        user_timeout: Duration::from_secs(30),
        ..TcpOptions::default()
    };
    let (mut client, _served) = connected(&mut world, 7, options);
    let before = world.clock.now();
    let error = world.run(async {
        loop {
            if let Err(error) = client.write(&[1; 4096]).await {
                return error;
            }
        }
    });
    assert_eq!(error, StreamError::TimedOut);
    let waited = world.clock.now() - before;
    assert!((30..60).contains(&waited.secs()), "{waited}");
}

#[test]
fn leaving_in_mid_stream_loses_nothing() {
    for leaver in 0..2 {
        let mut world = neighbours(8 + leaver as u64);
        let (client, served) = connected(&mut world, 7, TcpOptions::default());
        let data = pattern(3_000_000);
        let guests = [world.a(), world.b()];
        let clock = world.clock.clone();
        let (mut read, mut write) = client.split();
        let back = world.run(async {
            let writer = async {
                for (number, piece) in data.chunks(3000).enumerate() {
                    if number == 300 {
                        leave(&guests[leaver]);
                    }
                    if number == 600 {
                        clock.sleep(Duration::from_millis(700)).await;
                        renew(&guests[leaver]);
                    }
                    write.write_all(piece).await.unwrap();
                }
                write.shutdown();
            };
            let reader = read_to_end(&mut read);
            join(join(writer, reader), echo(served)).await.0.1
        });
        assert!(back == data, "{} of {} bytes", back.len(), data.len());
        for guest in &guests {
            let counted = statistics(guest);
            assert_eq!((counted.fallbacks, counted.failed), (1, 0));
            assert_eq!(counted.upgrades, 2, "up, back, and up again");
        }
    }
}

#[test]
fn a_dead_peer_ends_its_connections() {
    let mut world = neighbours(10);
    let (mut client, served) = connected(&mut world, 7, TcpOptions::default());
    world.kill(1);
    let mut buf = [0; 8];
    let read = world.run(async { client.read(&mut buf).await });
    assert_eq!(read.unwrap_err(), StreamError::Reset);
    assert_eq!(statistics(&world.a()).ended(Cause::Gone), 1);
    drop(served);
}

/// A connection whose owner is gone when the link comes up: the peer goes on writing, as if to a
/// ring, and learns what TCP would tell it.
#[test]
fn a_link_does_not_take_over_a_connection_without_an_owner() {
    let mut world = neighbours(14);
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(7, 4, TcpOptions::default()).unwrap();
    let data = pattern(2_000_000);
    world.run(async {
        let client = async {
            let mut stream = a
                .connect(b(7), TcpOptions::default(), TIMEOUT)
                .await
                .unwrap();
            stream.write_all(b"bye").await.unwrap();
            drop(stream);
        };
        let served = async {
            let mut stream = listener.accept().await;
            let mut buf = [0; 3];
            stream.read_exact(&mut buf).await.unwrap();
            // The lingering end throws this away, and does not hold it up.
            stream.write_all(&data).await.unwrap();
            stream.close().await.unwrap();
        };
        join(client, served).await
    });
    assert_eq!(statistics(&world.a()).links, 1);
}

/// The memory of all sockets runs out again and again: closed connections give way to new ones.
#[test]
fn connections_come_and_go_in_little_memory() {
    let mut world = neighbours(13);
    let (client, served) = connected(&mut world, 7, TcpOptions::default());
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(8, 4, TcpOptions::default()).unwrap();
    for number in 0..150 {
        world.run(async {
            let client = async {
                let mut stream = a
                    .connect(b(8), TcpOptions::default(), TIMEOUT)
                    .await
                    .unwrap();
                stream.write_all(&[number as u8; 9]).await.unwrap();
                let mut buf = [0; 9];
                stream.read_exact(&mut buf).await.unwrap();
                assert_eq!(buf, [number as u8; 9]);
                drop(stream);
            };
            join(client, async { echo(listener.accept().await).await }).await
        });
        // TCP exchanges its FINs over the network.
        world.pass(Duration::from_millis(2));
    }
    drop((client, served));
}

#[test]
fn datagrams_take_the_link_and_keep_their_boundaries() {
    let mut world = neighbours(11);
    let (client, served) = connected(&mut world, 7, TcpOptions::default());
    let (a, server) = (world.a(), world.b());
    let sender = a.bind_udp(0).unwrap();
    let receiver = server.bind_udp(9).unwrap();
    let before = world.carried;
    world.run(async {
        for len in [0, 1, 100, 1472] {
            sender.send_to(&pattern(len), b(9)).await.unwrap();
            let mut buf = [0; 2000];
            let (got, from) = receiver.recv_from(&mut buf).await.unwrap();
            assert_eq!(
                (&buf[..got], from.port()),
                (&pattern(len)[..], sender.port())
            );
        }
    });
    assert_eq!(world.carried, before);
    drop((client, served));
}

#[test]
fn a_peer_without_a_channel_keeps_tcp() {
    let mut world = World::new(12);
    world.share_memory_alone(12, "vmc=original");
    let data = pattern(100_000);
    assert!(round_trip(&mut world, &data, TcpOptions::default()) == data);
    let counted = statistics(&world.a());
    assert_eq!((counted.links, counted.upgrades), (0, 0));
}

#[test]
fn a_reader_that_waits_on_tcp_hears_of_bytes_on_the_link() {
    let mut world = World::new(14);
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(7, 4, TcpOptions::default()).unwrap();
    let (mut client, mut served) = world.run(join(
        async {
            a.connect(b(7), TcpOptions::default(), TIMEOUT)
                .await
                .unwrap()
        },
        listener.accept(),
    ));
    // Only now can there be a link, and nobody has asked for one.
    world.share_memory(14);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let mut buf = [0; 5];
    {
        let mut reader = pin!(served.read_exact(&mut buf));
        let waker = Waker::from(woken.clone());
        let polled = reader.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        a.with(|stack| stack.channel.as_mut().unwrap().greet(PAIR));
        world.pass(Duration::from_millis(50));
        woken.0.store(false, Relaxed);
        world.run(async { client.write_all(b"hello").await.unwrap() });
        world.pass(Duration::from_millis(50));
        assert!(woken.0.load(Relaxed));
        world.run(reader).unwrap();
    }
    assert_eq!(buf, *b"hello");
    assert_eq!(statistics(&world.a()).upgrades, 1);
}

/// Whether a waker was called.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}
