//! How connections end: half-close, close, drop, abort, reset, silence.

use alloc::vec::Vec;
use core::time::Duration;

use embedded_io::{Error, ErrorKind};
use embedded_io_async::{Read, Write};

use super::world::{Faults, TcpListener, TcpStream, World, b, join};
use crate::error::{ConnectError, StreamError};
use crate::options::{Limits, TcpOptions};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a connection between A and B on port 100.
fn pair(world: &mut World, options: TcpOptions) -> (TcpStream, TcpStream, TcpListener) {
    let (a, server) = (world.a(), world.b());
    let mut listener = server.listen(100, 4, options).unwrap();
    let (client, server) =
        world.run(async { join(a.connect(b(100), options, TIMEOUT), listener.accept()).await });
    (client.unwrap(), server, listener)
}

async fn read_to_end(stream: &mut TcpStream) -> Result<Vec<u8>, StreamError> {
    let mut data = Vec::new();
    let mut buf = [0; 512];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(data),
            len => data.extend_from_slice(&buf[..len]),
        }
    }
}

fn sockets(world: &World) -> [usize; 2] {
    [0, 1].map(|host| world.hosts[host].shared.with(|stack| stack.tcp.usage().0))
}

#[test]
fn half_closed_streams_still_carry_the_other_direction() {
    let mut world = World::new(1);
    let (mut client, mut server, _listener) = pair(&mut world, TcpOptions::default());
    world.run(async {
        client.write_all(b"question").await.unwrap();
        client.shutdown_write();
        assert_eq!(read_to_end(&mut server).await.unwrap(), b"question");
        server.write_all(b"answer").await.unwrap();
        server.shutdown_write();
        assert_eq!(read_to_end(&mut client).await.unwrap(), b"answer");
        let error = client.write(b"more").await.unwrap_err();
        assert_eq!(error, StreamError::WriteClosed);
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_end_is_seen_in_front_of_unread_bytes() {
    // Less than the reader keeps, and more.
    for (seed, len) in [(20, 0), (21, 100), (22, 20_000)] {
        for resets in [false, true] {
            let mut world = World::new(seed);
            let (mut client, server, _listener) = pair(&mut world, TcpOptions::default());
            let clock = world.clock.clone();
            let data = alloc::vec![7; len];
            world.run(async {
                let (mut read, _write) = server.split();
                client.write_all(&data).await.unwrap();
                clock.sleep(Duration::from_secs(1)).await;
                if resets {
                    client.abort();
                    assert_eq!(read.ended().await, Err(StreamError::Reset));
                    return;
                }
                client.shutdown_write();
                assert_eq!(read.ended().await, Ok(()));
                let mut arrived = Vec::new();
                let mut buf = [0; 512];
                loop {
                    match read.read(&mut buf).await.unwrap() {
                        0 => break,
                        n => arrived.extend_from_slice(&buf[..n]),
                    }
                }
                assert!(arrived == data, "{len} bytes");
            });
        }
    }
}

#[test]
fn a_dropped_stream_delivers_and_leaves_nothing_behind() {
    let mut world = World::new(2);
    world.faults = Faults {
        lose: 200,
        ..Faults::default()
    };
    let (mut client, mut server, listener) = pair(&mut world, TcpOptions::default());
    drop(listener);
    let data = alloc::vec![7; 40_000];
    world.run(async {
        client.write_all(&data).await.unwrap();
        drop(client);
        assert!(read_to_end(&mut server).await.unwrap() == data);
        drop(server);
    });
    // TIME-WAIT takes 10 s, a lost FIN some retransmissions on top.
    world.pass(Duration::from_secs(180));
    assert_eq!(sockets(&world), [0, 0]);
    assert_eq!(world.a().with(|stack| stack.tcp.usage().1), 0);
}

#[test]
fn close_waits_for_the_acknowledgement() {
    let mut world = World::new(3);
    let (mut client, mut server, _listener) = pair(&mut world, TcpOptions::default());
    let read = world.run(async {
        client.write_all(b"last words").await.unwrap();
        let (closed, read) = join(client.close(), read_to_end(&mut server)).await;
        assert_eq!(closed, Ok(()));
        read.unwrap()
    });
    assert_eq!(read, b"last words");
}

#[test]
fn close_gives_up_after_the_linger_time() {
    let mut world = World::new(4);
    let options = TcpOptions {
        linger: Duration::from_secs(5),
        ..TcpOptions::default()
    };
    let (mut client, _server, _listener) = pair(&mut world, options);
    world.faults.lose = 1000;
    let began = world.clock.now();
    let closed = world.run(async {
        client.write_all(b"into the void").await.unwrap();
        client.close().await
    });
    assert_eq!(closed, Err(StreamError::TimedOut));
    let waited = world.clock.now() - began;
    assert!(waited.secs() < 6, "{waited}");
    world.pass(Duration::from_secs(5));
    assert_eq!(sockets(&world)[0], 0);
    assert_eq!(world.a().with(|stack| stack.tcp.counters.linger_resets), 1);
}

#[test]
fn abort_resets_the_peer() {
    let mut world = World::new(5);
    let (client, mut server, _listener) = pair(&mut world, TcpOptions::default());
    world.run(async {
        client.abort();
        let error = read_to_end(&mut server).await.unwrap_err();
        assert_eq!(error, StreamError::Reset);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(server.write(b"x").await, Err(StreamError::Reset));
    });
    world.pass(Duration::from_secs(1));
    assert_eq!(sockets(&world)[0], 0);
}

#[test]
fn data_before_a_reset_is_read_first() {
    let mut world = World::new(6);
    let (mut client, mut server, _listener) = pair(&mut world, TcpOptions::default());
    let clock = world.clock.clone();
    world.run(async {
        client.write_all(b"data").await.unwrap();
        clock.sleep(Duration::from_millis(10)).await;
        client.abort();
        clock.sleep(Duration::from_millis(10)).await;
        let mut buf = [0; 10];
        assert_eq!(server.read(&mut buf).await, Ok(4));
        assert_eq!(server.read(&mut buf).await, Err(StreamError::Reset));
    });
}

#[test]
fn unacknowledged_data_ends_at_the_user_timeout() {
    let mut world = World::new(7);
    let options = TcpOptions {
        user_timeout: Duration::from_secs(30),
        ..TcpOptions::default()
    };
    let (mut client, _server, _listener) = pair(&mut world, options);
    // No time-out runs while a connection is idle.
    world.pass(Duration::from_secs(600));
    world.faults.lose = 1000;
    let began = world.clock.now();
    let error = world.run(async {
        client.write_all(b"anyone?").await.unwrap();
        read_to_end(&mut client).await.unwrap_err()
    });
    assert_eq!(error, StreamError::TimedOut);
    let waited = (world.clock.now() - began).secs();
    assert!((30..33).contains(&waited), "{waited} s");
}

#[test]
fn keep_alive_notices_a_dead_peer_and_spares_a_live_one() {
    let mut world = World::new(8);
    let options = TcpOptions {
        keep_alive: Some(Duration::from_secs(10)),
        user_timeout: Duration::from_secs(30),
        ..TcpOptions::default()
    };
    let (mut client, _server, _listener) = pair(&mut world, options);
    world.pass(Duration::from_secs(300));
    world.faults.lose = 1000;
    let began = world.clock.now();
    let error = world.run(read_to_end(&mut client)).unwrap_err();
    assert_eq!(error, StreamError::TimedOut);
    let waited = (world.clock.now() - began).secs();
    assert!(waited <= 41, "{waited} s");
}

#[test]
fn a_lost_address_ends_its_connections() {
    let mut world = World::new(9);
    let (mut client, _server, _listener) = pair(&mut world, TcpOptions::default());
    let a = world.a();
    let error = world.run(async {
        a.with(|stack| {
            stack.set_addresses(&crate::addressing::Addressing::default());
            stack.kick();
        });
        client.write_all(b"x").await.unwrap();
        read_to_end(&mut client).await.unwrap_err()
    });
    assert_eq!(error, StreamError::AddressLost);
}

#[test]
fn connecting_fails_for_a_reason() {
    let mut world = World::new(10);
    let (a, clock) = (world.a(), world.clock.clone());
    let connect = |to: &str| a.connect(to.parse().unwrap(), TcpOptions::default(), TIMEOUT);
    let mut error = |to| world.run(async { connect(to).await.unwrap_err() });
    assert_eq!(error("10.0.0.2:1"), ConnectError::Refused);
    assert_eq!(error("192.168.7.7:1"), ConnectError::Unreachable);
    assert_eq!(error("10.0.0.1:1"), ConnectError::InvalidAddress);
    assert_eq!(error("10.0.0.2:0"), ConnectError::InvalidAddress);
    assert_eq!(error("[fd01::9]:1"), ConnectError::Unreachable);
    let began = clock.now();
    assert_eq!(error("10.0.0.77:1"), ConnectError::TimedOut);
    let waited = (clock.now() - began).secs();
    assert!((29..32).contains(&waited), "{waited} s");
    world.pass(Duration::from_secs(5));
    assert_eq!(sockets(&world)[0], 0);
}

#[test]
fn many_short_connections_stay_within_the_bounds() {
    let mut world = World::new(11);
    let (a, server) = (world.a(), world.b());
    let options = TcpOptions::default();
    let mut listener = server.listen(100, 4, options).unwrap();
    for _ in 0..300 {
        world.run(async {
            let client = async {
                let mut stream = a.connect(b(100), options, TIMEOUT).await.unwrap();
                stream.write_all(b"hi").await.unwrap();
                stream.close().await.unwrap();
            };
            let server = async {
                let mut stream = listener.accept().await;
                read_to_end(&mut stream).await.unwrap();
            };
            join(client, server).await
        });
        let limits = Limits::default();
        assert!(a.with(|stack| stack.tcp.lingering()) <= limits.lingering);
        let (_, bytes) = a.with(|stack| stack.tcp.usage());
        assert!(bytes <= limits.tcp_bytes);
    }
}
