//! Names: a small server on B, a resolver on A.

use alloc::vec::Vec;
use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::world::{B4, Shared, UdpSocket, World};
use crate::error::ResolveError;

/// Returns the answer to `query`: `alias.test` is an alias of `mail.test`, which has an A record;
/// `six.test` has only an AAAA record; no other name exists.
fn answer(query: &[u8]) -> Vec<u8> {
    let question = &query[12..];
    let name_len = question.iter().position(|byte| *byte == 0).unwrap() + 1;
    let (name, kind) = (&question[..name_len], question[name_len + 1]);
    let mail = b"\x04mail\x04test\x00";
    let mut records: Vec<Vec<u8>> = Vec::new();
    let record = |kind: u8, name: &[u8], data: &[u8]| {
        let mut bytes = name.to_vec();
        bytes.extend_from_slice(&[0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        bytes.extend_from_slice(data);
        bytes
    };
    match (name, kind) {
        (b"\x04mail\x04test\x00", 1) => records.push(record(1, b"\xc0\x0c", &[10, 0, 0, 9])),
        (b"\x05alias\x04test\x00", 1) => {
            records.push(record(5, b"\xc0\x0c", mail));
            records.push(record(1, mail, &[10, 0, 0, 9]));
        }
        (b"\x03six\x04test\x00", 28) => {
            records.push(record(28, b"\xc0\x0c", &Ipv6Addr::LOCALHOST.octets()));
        }
        _ => {}
    }
    let missing = records.is_empty();
    let mut response = query[..2].to_vec();
    response.extend_from_slice(&[0x81, if missing { 0x83 } else { 0x80 }, 0, 1]);
    response.extend_from_slice(&[0, records.len() as u8, 0, 0, 0, 0]);
    response.extend_from_slice(&question[..name_len + 4]);
    records.iter().for_each(|record| response.extend(record));
    response
}

async fn serve(socket: &UdpSocket) {
    let mut buf = [0; 512];
    loop {
        let (len, from) = socket.recv_from(&mut buf).await.unwrap();
        socket.send_to(&answer(&buf[..len]), from).await.unwrap();
    }
}

fn resolve(world: &mut World, client: &Shared, name: &str) -> Result<IpAddr, ResolveError> {
    let socket = world.b().bind_udp(53).unwrap();
    world.run(async {
        let mut server = core::pin::pin!(serve(&socket));
        let mut lookup = core::pin::pin!(client.resolve(name));
        core::future::poll_fn(|cx| {
            let _ = server.as_mut().poll(cx);
            lookup.as_mut().poll(cx)
        })
        .await
    })
}

#[test]
fn names_resolve() {
    let mut world = World::new(1);
    let a = world.a();
    let literal = world.run(a.resolve("192.0.2.7"));
    assert_eq!(literal, Ok(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))));
    assert_eq!(
        world.run(a.resolve("mail.test")),
        Err(ResolveError::NoServer)
    );
    a.with(|stack| stack.resolver.set_configured(&[IpAddr::V4(B4)]));
    let found = Ok(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)));
    assert_eq!(resolve(&mut world, &a, "mail.test"), found);
    assert_eq!(resolve(&mut world, &a, "mail.test."), found);
    assert_eq!(resolve(&mut world, &a, "alias.test"), found);
    assert_eq!(
        resolve(&mut world, &a, "six.test"),
        Ok(IpAddr::V6(Ipv6Addr::LOCALHOST))
    );
    assert_eq!(
        resolve(&mut world, &a, "nowhere.test"),
        Err(ResolveError::NotFound)
    );
    for name in ["", "a..b", &"x".repeat(64), &"long.".repeat(60)] {
        assert_eq!(
            world.run(a.resolve(name)),
            Err(ResolveError::InvalidName),
            "{name}"
        );
    }
}

#[test]
fn a_silent_server_does_not_block_for_ever() {
    let mut world = World::new(2);
    let a = world.a();
    a.with(|stack| stack.resolver.set_configured(&[IpAddr::V4(B4)]));
    let _silent = world.b().bind_udp(53).unwrap();
    assert_eq!(
        world.run(a.resolve("mail.test")),
        Err(ResolveError::NotFound)
    );
    let waited = world.clock.now().secs();
    assert!(waited <= 30, "{waited} s");
}
