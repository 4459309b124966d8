//! What bounds the waits of an application is the same over TCP and over rings (design rule R20).

use core::time::Duration;

use embedded_io_async::{Read, Write};

use super::connected;
use crate::error::StreamError;
use crate::options::{Buffers, TcpOptions};
use crate::tests::pattern;
use crate::tests::world::{TcpStream, World, join};

const USER_TIMEOUT: Duration = Duration::from_secs(30);

fn options() -> TcpOptions {
    TcpOptions {
        user_timeout: USER_TIMEOUT,
        ..TcpOptions::default()
    }
}

/// Runs `case` on a connection over TCP, and on one over rings; returns what each came to.
fn on_both_paths<T>(
    options: TcpOptions,
    case: impl Fn(&mut World, TcpStream, TcpStream) -> T,
) -> [T; 2] {
    ["vmc=off", "vmc=advance"].map(|mode| {
        let mut world = World::new(50);
        world.share_memory_with(50, mode);
        let (client, served) = connected(&mut world, 7, options);
        // What came with the connection is over, and it is idle.
        world.pass(Duration::from_secs(60));
        case(&mut world, client, served)
    })
}

/// Reads until the stream fails; returns why, and after how many seconds.
fn failure(world: &mut World, stream: &mut TcpStream) -> (StreamError, i64) {
    let began = world.clock.now();
    let error = world.run(async {
        let mut buf = [0; 100];
        loop {
            match stream.read(&mut buf).await {
                Ok(0) => panic!("the stream ended in order"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    });
    (error, (world.clock.now() - began).secs() as i64)
}

/// Checks that both paths failed with a timeout, after about `seconds`: some may have passed before
/// the stream was read, or until what was in a ring went back to TCP.
fn timed_out(came_to: [(StreamError, i64); 2], seconds: i64) {
    for (path, (error, after)) in ["TCP", "rings"].iter().zip(came_to) {
        assert_eq!(error, StreamError::TimedOut, "{path}");
        let about = seconds - 3..=seconds + 6;
        assert!(about.contains(&after), "{path}: {after} s");
    }
}

#[test]
fn bytes_that_a_silent_guest_does_not_take_end_the_connection() {
    let came_to = on_both_paths(options(), |world, mut client, served| {
        world.pause(1);
        world.run(async { client.write_all(b"anyone?").await.unwrap() });
        let came_to = failure(world, &mut client);
        let write = world.run(async { client.write(b"more").await });
        assert_eq!(write, Err(StreamError::TimedOut));
        drop(served);
        came_to
    });
    timed_out(came_to, 30);
}

#[test]
fn a_fin_that_a_silent_guest_does_not_take_ends_the_connection() {
    let came_to = on_both_paths(options(), |world, mut client, served| {
        world.pause(1);
        client.shutdown_write();
        let came_to = failure(world, &mut client);
        drop(served);
        came_to
    });
    timed_out(came_to, 30);
}

/// Less than a receive buffer: over TCP the peer's stack has it.
#[test]
fn a_guest_that_lives_may_take_its_time() {
    let came_to = on_both_paths(options(), |world, mut client, mut served| {
        let data = pattern(50_000);
        world.run(async { client.write_all(&data).await.unwrap() });
        client.shutdown_write();
        world.pass(Duration::from_secs(1800));
        let mut back = alloc::vec![0; data.len()];
        world.run(async {
            served.read_exact(&mut back).await.unwrap();
            assert_eq!(served.read(&mut [0; 1]).await, Ok(0));
            served.write_all(b"thanks").await.unwrap();
            client.read_exact(&mut back[..6]).await.unwrap();
        });
        back[..6] == *b"thanks" && back[6..] == data[6..]
    });
    assert_eq!(came_to, [true, true]);
}

/// More than a receive buffer, and no write waits.
#[test]
fn what_no_receive_buffer_holds_ends_the_connection() {
    let came_to = on_both_paths(options(), |world, mut client, served| {
        let data = pattern(75_000);
        world.run(async { client.write_all(&data).await.unwrap() });
        let came_to = failure(world, &mut client);
        drop(served);
        came_to
    });
    timed_out(came_to, 30);
}

/// A peer that reads a little now and then makes progress, for hours.
#[test]
fn a_slow_reader_is_not_taken_for_a_dead_one() {
    let came_to = on_both_paths(options(), |world, mut client, mut served| {
        let data = pattern(200_000);
        let mut back = alloc::vec![0; data.len()];
        let clock = world.clock.clone();
        world.run(async {
            let writer = async { client.write_all(&data).await.unwrap() };
            let reader = async {
                for piece in back.chunks_mut(4000) {
                    clock.sleep(Duration::from_secs(20)).await;
                    served.read_exact(piece).await.unwrap();
                }
            };
            join(writer, reader).await
        });
        back == data
    });
    assert_eq!(came_to, [true, true]);
}

#[test]
fn keep_alive_notices_a_silent_guest_and_spares_a_live_one() {
    let options = TcpOptions {
        keep_alive: Some(Duration::from_secs(10)),
        ..options()
    };
    let came_to = on_both_paths(options, |world, mut client, served| {
        world.pass(Duration::from_secs(600));
        world.pause(1);
        let came_to = failure(world, &mut client);
        drop(served);
        came_to
    });
    for (path, (error, after)) in ["TCP", "rings"].iter().zip(came_to) {
        assert_eq!(error, StreamError::TimedOut, "{path}");
        assert!((20..=41).contains(&after), "{path}: {after} s");
    }
}

#[test]
fn a_closed_connection_lingers_equally_long() {
    let options = TcpOptions {
        linger: Duration::from_secs(10),
        ..options()
    };
    let came_to = on_both_paths(options, |world, mut client, served| {
        world.pause(1);
        let began = world.clock.now();
        let closed = world.run(async {
            client.write_all(b"last words").await.unwrap();
            client.close().await
        });
        let took = (world.clock.now() - began).secs() as i64;
        world.pass(Duration::from_secs(3));
        let left = world.a().with(|stack| stack.tcp.lingering());
        assert_eq!(left, 0);
        drop(served);
        (closed.unwrap_err(), took)
    });
    timed_out(came_to, 10);
}

/// A writer that waits for a peer that does not read: whatever has room has been filled.
#[test]
fn a_writer_that_waits_is_told() {
    let options = TcpOptions {
        buffers: Buffers::both(8 * 1024),
        ..options()
    };
    let came_to = on_both_paths(options, |world, mut client, served| {
        let mut began = world.clock.now();
        let clock = world.clock.clone();
        let error = world.run(async {
            loop {
                match client.write(&[7; 4096]).await {
                    Ok(_) => began = clock.now(),
                    Err(error) => return error,
                }
            }
        });
        drop(served);
        (error, (world.clock.now() - began).secs() as i64)
    });
    timed_out(came_to, 30);
}

/// Closed with bytes that the peer's application has not read and its guest has: that is delivery,
/// as over TCP.
#[test]
fn a_closed_connection_delivers_to_a_slow_reader() {
    let options = TcpOptions {
        linger: Duration::from_secs(10),
        ..options()
    };
    let came_to = on_both_paths(options, |world, mut client, mut served| {
        let data = pattern(10_000);
        let began = world.clock.now();
        let closed = world.run(async {
            client.write_all(&data).await.unwrap();
            client.close().await
        });
        let took = world.clock.now() - began;
        assert!(took.secs() <= 3, "{took}");
        world.pass(Duration::from_secs(5));
        let mut back = alloc::vec![0; data.len()];
        world.run(async { served.read_exact(&mut back).await.unwrap() });
        assert!(back == data);
        closed
    });
    assert_eq!(came_to, [Ok(()), Ok(())]);
}

/// The writer's guest stands still, not the reader's.
#[test]
fn a_pause_of_its_own_is_not_held_against_the_peer() {
    let came_to = on_both_paths(options(), |world, mut client, mut served| {
        world.run(async { client.write_all(b"before").await.unwrap() });
        world.pass(Duration::from_secs(2));
        world.pause(0);
        world.pass(Duration::from_secs(600));
        world.unpause(0);
        world.pass(Duration::from_secs(60));
        world.run(async {
            client.write_all(b"after").await.unwrap();
            let mut buf = [0; 11];
            served.read_exact(&mut buf).await.unwrap();
            buf == *b"beforeafter"
        })
    });
    assert_eq!(came_to, [true, true]);
}
