//! UDP: datagrams that must come back unchanged.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::pattern::Pattern;

/// How long to wait for an answer before the datagram is sent again.
const ANSWER: Duration = Duration::from_millis(1500);

/// Opens a local socket that talks only to `server`.
pub fn socket(server: SocketAddr) -> Result<UdpSocket> {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).context("a local UDP port")?;
    socket.connect(server).with_context(|| server.to_string())?;
    socket.set_read_timeout(Some(ANSWER))?;
    Ok(socket)
}

/// Sends a datagram of `size` seeded bytes and compares its echo, with three attempts, because UDP
/// may lose. Returns whether an echo came back; a wrong one is an error.
pub fn echo(socket: &UdpSocket, size: usize, seed: u64) -> Result<bool> {
    let mut sent = vec![0; size];
    Pattern::new(seed).fill(&mut sent);
    let mut back = vec![0; 65536];
    for _ in 0..3 {
        socket
            .send(&sent)
            .with_context(|| format!("{size} bytes"))?;
        match socket.recv(&mut back) {
            Ok(count) if back[..count] == sent => return Ok(true),
            Ok(count) => bail!("{size} bytes came back as {count} other bytes"),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("{size} bytes")),
        }
    }
    Ok(false)
}

/// Discards late datagrams, such as the second answer to a repeated one.
pub fn drain(socket: &UdpSocket, pause: Duration) -> Result<()> {
    socket.set_read_timeout(Some(pause))?;
    // Bounded: each answer belongs to one of a handful of requests.
    for _ in 0..64 {
        if socket.recv(&mut [0; 65536]).is_err() {
            break;
        }
    }
    socket.set_read_timeout(Some(ANSWER))?;
    Ok(())
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::{echo, socket};
    use std::net::UdpSocket;
    use std::thread;

    #[test]
    fn good_and_bad_echoes_are_told_apart() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("its address");
        thread::spawn(move || {
            let mut buffer = vec![0; 2000];
            while let Ok((count, from)) = server.recv_from(&mut buffer) {
                if count == 100 {
                    buffer[50] ^= 1;
                }
                let _ = server.send_to(&buffer[..count], from);
            }
        });
        let socket = socket(address).expect("connected");
        assert!(echo(&socket, 0, 1).expect("echoed"));
        assert!(echo(&socket, 1472, 2).expect("echoed"));
        assert!(echo(&socket, 100, 3).is_err());
    }
}
