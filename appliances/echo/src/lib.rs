//! The test services that several guests offer, and their byte pattern.
//!
//! TCP: [`echo`] (RFC 862), [`discard`] (RFC 863), [`send_pattern`] (in place of RFC 864's lines,
//! so that a receiver can check every byte). UDP: [`echo_datagrams`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod pattern;

use alloc::string::String;
use alloc::vec::Vec;

use embedded_io_async::{Read, Write};
use kernel::task;
use netstack::{Network, StreamError, TcpListener, TcpOptions, TcpStream, UdpSocket};

/// Bytes that one connection copies at a time.
const CHUNK: usize = 32 * 1024;
/// The same without memory for that.
const SMALL: usize = 512;
/// Connections of one service that wait to be accepted.
const BACKLOG: usize = 32;

/// A TCP service.
#[derive(Clone, Copy)]
enum Service {
    Echo,
    Discard,
    Pattern,
}

/// Serves echo on TCP and UDP port 7, discard on TCP port 9 and the pattern on TCP port 19, each
/// in a task of its own.
///
/// # Errors
/// A port cannot be bound; the text names it.
pub fn serve(network: &Network, options: TcpOptions) -> Result<(), String> {
    for (port, service) in [
        (7, Service::Echo),
        (9, Service::Discard),
        (19, Service::Pattern),
    ] {
        let listener = network
            .listen_with(port, BACKLOG, options)
            .map_err(|error| alloc::format!("port {port}: {error}"))?;
        task::spawn(accept(listener, service)).detach();
    }
    let socket = network
        .bind_udp(7)
        .map_err(|error| alloc::format!("UDP port 7: {error}"))?;
    task::spawn(echo_datagrams(socket)).detach();
    Ok(())
}

/// Serves each connection in a task of its own.
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

/// Sends back what it receives, and closes when the peer does.
///
/// # Errors
/// The connection failed.
pub async fn echo(mut stream: TcpStream) -> Result<(), StreamError> {
    let (mut large, mut small) = (chunk(), [0; SMALL]);
    let buffer = large.as_deref_mut().unwrap_or(&mut small);
    loop {
        match stream.read(buffer).await? {
            0 => return stream.close().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}

/// Reads to the end of the stream, then closes.
///
/// # Errors
/// The connection failed.
pub async fn discard(mut stream: TcpStream) -> Result<(), StreamError> {
    let (mut large, mut small) = (chunk(), [0; SMALL]);
    let buffer = large.as_deref_mut().unwrap_or(&mut small);
    while stream.read(buffer).await? > 0 {}
    stream.close().await
}

/// Returns a buffer, unless the heap has no room for one: the toolstack may take memory away under
/// load.
fn chunk() -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(CHUNK).ok()?;
    buffer.resize(CHUNK, 0);
    Some(buffer)
}

/// Sends the pattern until the peer closes its side or resets the connection.
///
/// # Errors
/// The connection failed.
pub async fn send_pattern(stream: TcpStream) -> Result<(), StreamError> {
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

/// Sends every datagram back; never completes.
pub async fn echo_datagrams(socket: UdpSocket) {
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
