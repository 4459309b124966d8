//! The echo guest: the simplest use of the socket API, and the peer of network tests.
//!
//! TCP: echo on port 7 (RFC 862), discard on 9 (RFC 863), a byte pattern without end on 19 (in
//! place of RFC 864's lines, so that a receiver can check every byte). UDP: echo on port 7.
//! Besides the network's options it knows `panic=yes`, which panics once the network is up.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod pattern;

use alloc::string::{String, ToString};
use alloc::vec;

use embedded_io_async::{Read, Write};
use kernel::{Guest, task};
use netstack::{Config, Network, StreamError, TcpListener, TcpStream, UdpSocket};

kernel::guest!(main);

/// Bytes that one connection copies at a time.
const CHUNK: usize = 32 * 1024;
/// Connections of one service that wait to be accepted.
const BACKLOG: usize = 32;

/// A TCP service.
#[derive(Clone, Copy)]
enum Service {
    Echo,
    Discard,
    Pattern,
}

async fn main(mut guest: Guest) -> Result<(), String> {
    let config = Config::take(&mut guest.command_line).map_err(|error| error.to_string())?;
    let panics = match guest.command_line.take("panic").as_deref() {
        None | Some("no") => false,
        Some("yes") => true,
        Some(other) => {
            return Err(alloc::format!(
                "option \"panic\": {other:?} is not yes or no"
            ));
        }
    };
    guest
        .command_line
        .finish()
        .map_err(|error| error.to_string())?;
    let network = Network::start(guest.xenstore, config)
        .await
        .map_err(|error| error.to_string())?;
    assert!(!panics, "asked for with panic=yes");

    for (port, service) in [
        (7, Service::Echo),
        (9, Service::Discard),
        (19, Service::Pattern),
    ] {
        let listener = network
            .listen(port, BACKLOG)
            .map_err(|error| alloc::format!("port {port}: {error}"))?;
        task::spawn(accept(listener, service)).detach();
    }
    let socket = network
        .bind_udp(7)
        .map_err(|error| alloc::format!("UDP port 7: {error}"))?;
    task::spawn(async move { network.answer_console().await }).detach();
    log::info!("echo: ready");
    echo_datagrams(socket).await
}

/// Serves every connection in a task of its own.
async fn accept(mut listener: TcpListener, service: Service) {
    loop {
        let stream = listener.accept().await;
        task::spawn(async move {
            let peer = stream.peer_addr();
            let result = match service {
                Service::Echo => echo(stream).await,
                Service::Discard => discard(stream).await,
                Service::Pattern => send_pattern(stream).await,
            };
            if let Err(error) = result {
                log::info!("echo: {peer}: {error}");
            }
        })
        .detach();
    }
}

async fn echo(mut stream: TcpStream) -> Result<(), StreamError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.close().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}

async fn discard(mut stream: TcpStream) -> Result<(), StreamError> {
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer).await? > 0 {}
    stream.close().await
}

/// Sends until the peer closes its side, or resets the connection.
async fn send_pattern(stream: TcpStream) -> Result<(), StreamError> {
    let (mut read, mut write) = stream.split();
    let watcher = task::spawn(async move {
        let mut buffer = [0; 256];
        while let Ok(1..) = read.read(&mut buffer).await {}
    });
    let period = pattern::period();
    let mut offset = 0;
    while !watcher.is_finished() {
        let end = period.len().min(offset + CHUNK);
        write.write_all(&period[offset..end]).await?;
        offset = end % period.len();
    }
    Ok(())
}

async fn echo_datagrams(socket: UdpSocket) -> Result<(), String> {
    let mut buffer = [0; 2048];
    loop {
        let sent = match socket.recv_from(&mut buffer).await {
            Ok((len, peer)) => socket.send_to(&buffer[..len], peer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            log::info!("echo: datagram: {error}");
        }
    }
}
