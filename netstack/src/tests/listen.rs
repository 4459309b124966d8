//! Listeners: backlog, refusal, memory.

use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use embedded_io_async::{Read, Write};

use super::world::{TcpStream, World, b, join};
use crate::addressing::Addressing;
use crate::error::{BindError, ConnectError};
use crate::options::{Buffers, Limits, TcpOptions};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Connects `count` times at once; returns the results.
fn connect_all(
    world: &mut World,
    count: usize,
    options: TcpOptions,
) -> Vec<Result<TcpStream, ConnectError>> {
    let a = world.a();
    let mut results = Vec::new();
    world.run(async {
        let mut attempts: Vec<_> = (0..count)
            .map(|_| alloc::boxed::Box::pin(a.connect(b(25), options, TIMEOUT)))
            .collect();
        core::future::poll_fn(|cx| {
            attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                core::task::Poll::Ready(result) => {
                    results.push(result);
                    false
                }
                core::task::Poll::Pending => true,
            });
            if attempts.is_empty() {
                core::task::Poll::Ready(())
            } else {
                core::task::Poll::Pending
            }
        })
        .await;
    });
    results
}

#[test]
fn a_burst_fits_the_backlog_and_the_rest_is_refused() {
    let mut world = World::new(1);
    let mut listener = world.b().listen(25, 5, TcpOptions::default()).unwrap();
    let results = connect_all(&mut world, 8, TcpOptions::default());
    let (open, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(open.len(), 5);
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(ConnectError::Refused)))
    );
    assert_eq!(world.b().with(|stack| stack.tcp.counters.backlog_full), 1);
    // Accepting makes room, and every connection that was open works.
    let mut open: Vec<_> = open.into_iter().map(Result::unwrap).collect();
    world.run(async {
        for client in &mut open {
            client.write_all(b"hello").await.unwrap();
            client.shutdown_write();
        }
        for _ in 0..5 {
            let mut server = listener.accept().await;
            let mut buf = [0; 10];
            assert_eq!(server.read(&mut buf).await, Ok(5));
        }
    });
    assert_eq!(connect_all(&mut world, 3, TcpOptions::default()).len(), 3);
}

#[test]
fn memory_limits_refuse_and_recover() {
    let limits = Limits {
        tcp_bytes: 4 * 2 * 8192,
        ..Limits::default()
    };
    let mut world = World::bare(2, limits);
    for (host, address) in [(0, super::world::A4), (1, super::world::B4)] {
        world.hosts[host].shared.with(|stack| {
            stack.set_addresses(&Addressing {
                ipv4: Some((address, 24)),
                ..Addressing::default()
            });
        });
    }
    let options = TcpOptions {
        buffers: Buffers::both(8192),
        ..TcpOptions::default()
    };
    let mut listener = world.b().listen(25, 100, options).unwrap();
    let small = TcpOptions {
        buffers: Buffers::both(2920),
        ..options
    };
    let results = connect_all(&mut world, 6, small);
    let open = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(open, 4);
    drop(results);
    world.pass(Duration::from_secs(1));
    // Those four were closed: once accepted, they end at once, and make room.
    world.run(async {
        for _ in 0..4 {
            let mut server = listener.accept().await;
            assert_eq!(server.read(&mut [0; 10]).await, Ok(0));
        }
    });
    world.pass(Duration::from_secs(1));
    let results = connect_all(&mut world, 4, small);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(
        world.b().listen(26, 1, options).err(),
        Some(BindError::OutOfMemory)
    );
}

#[test]
fn a_half_open_connection_leaves_the_backlog() {
    let mut world = World::new(3);
    let mut listener = world.b().listen(25, 1, TcpOptions::default()).unwrap();
    let a = world.a();
    // A's SYN arrives; then A vanishes.
    let clock = world.clock.clone();
    world.run(async {
        let attempt = a.connect(b(25), TcpOptions::default(), TIMEOUT);
        let pause = clock.sleep(Duration::from_micros(350));
        let (mut attempt, mut pause) = (core::pin::pin!(attempt), core::pin::pin!(pause));
        core::future::poll_fn(|cx| {
            let _ = attempt.as_mut().poll(cx);
            pause.as_mut().poll(cx)
        })
        .await;
    });
    world.hosts[0].wire.outbox.clear();
    world.faults.lose = 1000;
    world.pass(Duration::from_secs(15));
    world.faults.lose = 0;
    let results = connect_all(&mut world, 1, TcpOptions::default());
    assert!(results[0].is_ok(), "{results:?}");
    world.run(listener.accept());
}

#[test]
fn ports_are_bound_once_and_freed_on_drop() {
    let mut world = World::new(4);
    let server = world.b();
    let options = TcpOptions::default();
    assert_eq!(
        server.listen(0, 1, options).err(),
        Some(BindError::InvalidPort)
    );
    let listener = server.listen(25, 1, options).unwrap();
    assert_eq!(server.listen(25, 1, options).err(), Some(BindError::InUse));
    let results = connect_all(&mut world, 1, options);
    drop(listener);
    let mut client = results.into_iter().next().unwrap().unwrap();
    // Connections that were not accepted are reset.
    let (read, ()) = world.run(async {
        let mut buf = [0; 1];
        join(async { client.read(&mut buf).await }, async {}).await
    });
    assert!(read.is_err());
    server.listen(25, 1, options).unwrap();
}
