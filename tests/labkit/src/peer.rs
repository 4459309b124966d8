//! The bench guest's services and measurements for Linux, with plain sockets.
//!
//! `agent peer serve` runs in a Linux domU, where the scenario `channel` puts the agent, so that
//! Linux to Linux is measured by the same steps as guest to guest. dom0 itself runs [`serve`] as a
//! peer without a channel. Nagle's algorithm is off, as in the guests.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The port of the echo service.
pub const ECHO: u16 = 4007;

/// The port of the discard service.
pub const DISCARD: u16 = 4009;

/// The limit of any one step.
const LIMIT: Duration = Duration::from_secs(120);

/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;

/// Runs `agent peer …`: serves for ever, or measures once and prints an answer in the guests' form.
pub fn run(arguments: &[&str]) -> Result<()> {
    let answer = match *arguments {
        ["serve"] => {
            serve(IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
            loop {
                thread::park();
            }
        }
        ["stream", peer, write, total] => stream(peer.parse()?, write.parse()?, total.parse()?)?,
        ["pingpong", peer, size, rounds] => {
            ping_pong(peer.parse()?, size.parse()?, rounds.parse()?)?
        }
        ["connect", peer, count] => connections(peer.parse()?, count.parse()?)?,
        _ => bail!("usage: agent peer serve|stream|pingpong|connect …"),
    };
    println!("ok {answer}");
    Ok(())
}

/// Serves echo and discard at `address`, in threads of their own.
///
/// # Errors
/// A port is taken.
pub fn serve(address: IpAddr) -> Result<()> {
    for (port, echoes) in [(ECHO, true), (DISCARD, false)] {
        let listener =
            TcpListener::bind((address, port)).with_context(|| format!("port {port}"))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client reports what goes wrong.
                thread::spawn(move || answer(stream, echoes));
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream, echoes: bool) -> Result<()> {
    armed(&stream)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(stream.shutdown(Shutdown::Write)?),
            count if echoes => stream.write_all(&buffer[..count])?,
            _ => {}
        }
    }
}

fn armed(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(())
}

fn connect(peer: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&peer, LIMIT)?;
    armed(&stream)?;
    Ok(stream)
}

fn stream(peer: SocketAddr, write: usize, total: u64) -> Result<String> {
    let mut stream = connect(peer)?;
    let buffer = vec![0x55; write];
    let start = Instant::now();
    let mut left = total;
    while left > 0 {
        let len = left.min(write as u64) as usize;
        stream.write_all(&buffer[..len])?;
        left -= len as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    if stream.read(&mut [0])? != 0 {
        bail!("the discard service has sent something");
    }
    let nanos = start.elapsed().as_nanos();
    Ok(format!("bytes={total} ns={nanos}"))
}

fn ping_pong(peer: SocketAddr, size: usize, rounds: u64) -> Result<String> {
    let mut stream = connect(peer)?;
    let question = vec![0x55; size];
    let mut answer = vec![0; size];
    let mut round = || -> Result<()> {
        stream.write_all(&question)?;
        Ok(stream.read_exact(&mut answer)?)
    };
    round()?;
    let start = Instant::now();
    for _ in 0..rounds {
        round()?;
    }
    let nanos = start.elapsed().as_nanos();
    Ok(format!("rounds={rounds} ns={nanos}"))
}

fn connections(peer: SocketAddr, count: usize) -> Result<String> {
    let (mut first_byte, mut connected) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let start = Instant::now();
        let mut stream = connect(peer)?;
        connected.push(start.elapsed().as_nanos().to_string());
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        first_byte.push(start.elapsed().as_nanos().to_string());
        stream.shutdown(Shutdown::Write)?;
        // The peer's end, so that the next connection does not race with it.
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(format!(
        "ns={} handshake_ns={}",
        first_byte.join(","),
        connected.join(",")
    ))
}

#[cfg(test)]
mod tests {
    use super::{DISCARD, ECHO, connections, ping_pong, serve, stream};
    use crate::traffic::bench::Answer;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    #[test]
    fn answers_are_the_guests_kind() {
        // An address of its own keeps other tests out.
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
        serve(address).expect("free ports");
        let echo = SocketAddr::new(address, ECHO);
        let answer = |text: String| Answer::parse(&format!("ok {text}\n")).expect("as agreed");
        let ping = answer(ping_pong(echo, 100, 3).expect("echoed"));
        assert_eq!(ping.number("rounds").expect("there"), 3);
        let each = answer(connections(echo, 2).expect("connected"));
        assert_eq!(each.numbers("ns").expect("there").len(), 2);
        let sent = stream(SocketAddr::new(address, DISCARD), 64, 1000).expect("sent");
        assert_eq!(answer(sent).number("bytes").expect("there"), 1000);
    }
}
