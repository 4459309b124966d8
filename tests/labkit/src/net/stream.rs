//! TCP: an echo with every byte compared, and timed one-way streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::pattern::{Checker, Pattern};
use crate::deadline::Deadline;

/// The largest single write of an echo; smaller sizes are spread evenly on a logarithmic scale.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// Connects within the deadline and sets both socket time-outs to what is left of it.
pub fn connect(server: SocketAddr, deadline: Deadline) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, deadline.socket_timeout())
        .with_context(|| format!("connecting to {server}"))?;
    stream.set_read_timeout(Some(deadline.socket_timeout()))?;
    stream.set_write_timeout(Some(deadline.socket_timeout()))?;
    Ok(stream)
}

/// Sends `total` seeded bytes in writes of random sizes while it reads them back and compares every
/// byte; then closes its own direction and expects the end of the other.
pub fn echo(stream: TcpStream, total: u64, seed: u64, deadline: Deadline) -> Result<()> {
    let mut writing = stream.try_clone().context("second handle")?;
    let writer = thread::spawn(move || send_pattern(&mut writing, total, seed, deadline));
    let read = read_back(&stream, total, seed, deadline);
    if read.is_err() {
        // Wakes a writer that waits for window space.
        let _ = stream.shutdown(Shutdown::Both);
    }
    let written = writer.join().map_err(|_| anyhow!("the writer panicked"))?;
    match (read, written) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(read), _) => Err(read),
        (Ok(()), Err(written)) => Err(written),
    }
}

/// Sends `bytes` and expects them back.
pub fn echo_once(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).context("sending")?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).context("reading the echo")?;
    if back != bytes {
        bail!("the echo differs from what was sent");
    }
    Ok(())
}

/// Checks that a new connection to an echo service works.
///
/// # Errors
/// It does not.
pub fn alive(server: SocketAddr, deadline: Deadline) -> Result<()> {
    let mut stream = connect(server, deadline).context("a new connection")?;
    echo_once(&mut stream, b"alive").context("a new connection")
}

/// Expects the peer's end of the stream, with no byte before it.
pub fn expect_end(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0; 64]).context("waiting for the end")? {
        0 => Ok(()),
        count => bail!("{count} bytes came where the end of the stream was due"),
    }
}

/// Reads for `window` and returns the rate in Mbit/s, not counting the first `warm_up`.
pub fn receive_rate(stream: &mut TcpStream, warm_up: Duration, window: Duration) -> Result<f64> {
    let mut buffer = vec![0; 256 * 1024];
    rate(warm_up, window, || match stream.read(&mut buffer) {
        Ok(0) => bail!("the stream ended"),
        Ok(count) => Ok(count),
        Err(error) => Err(error).context("reading"),
    })
}

/// Writes for `window` and returns the rate in Mbit/s, not counting the first `warm_up`.
pub fn send_rate(stream: &mut TcpStream, warm_up: Duration, window: Duration) -> Result<f64> {
    let buffer = vec![0x55; 128 * 1024];
    rate(warm_up, window, || stream.write(&buffer).context("writing"))
}

fn rate(
    warm_up: Duration,
    window: Duration,
    mut step: impl FnMut() -> Result<usize>,
) -> Result<f64> {
    let warm = Instant::now();
    while warm.elapsed() < warm_up {
        step()?;
    }
    let start = Instant::now();
    let mut bytes = 0_u64;
    loop {
        bytes += step()? as u64;
        let elapsed = start.elapsed();
        if elapsed >= window {
            return Ok(bytes as f64 * 8.0 / 1e6 / elapsed.as_secs_f64());
        }
    }
}

fn send_pattern(stream: &mut TcpStream, total: u64, seed: u64, deadline: Deadline) -> Result<()> {
    let mut pattern = Pattern::new(seed);
    // Sizes come from a different random stream than the bytes.
    let mut sizes = fastrand::Rng::with_seed(!seed);
    let mut buffer = vec![0; MAX_WRITE_BYTES];
    let mut left = total;
    while left > 0 {
        let limit = MAX_WRITE_BYTES >> sizes.u32(0..12);
        let size = left.min(sizes.usize(1..=limit) as u64) as usize;
        pattern.fill(&mut buffer[..size]);
        stream
            .write_all(&buffer[..size])
            .with_context(|| format!("writing at byte {}", total - left))?;
        left -= size as u64;
        if deadline.passed() {
            bail!("{left} of {total} bytes were not sent in time");
        }
    }
    stream.shutdown(Shutdown::Write).context("half-close")
}

fn read_back(mut stream: &TcpStream, total: u64, seed: u64, deadline: Deadline) -> Result<()> {
    let mut checker = Checker::new(seed);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("reading at byte {} of {total}", checker.offset()));
            }
        };
        if count == 0 {
            break;
        }
        checker.check(&buffer[..count])?;
        if checker.offset() > total {
            bail!("more came back than was sent: {}", checker.offset());
        }
        if deadline.passed() {
            bail!(
                "only {} of {total} bytes came back in time",
                checker.offset()
            );
        }
    }
    match checker.offset() {
        offset if offset == total => Ok(()),
        offset => bail!("the stream ended at byte {offset} of {total}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{connect, echo, echo_once, expect_end, receive_rate, send_rate};
    use crate::deadline::Deadline;
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    /// What the test server does to the bytes it sends back.
    #[derive(Clone, Copy)]
    enum Fault {
        None,
        FlipBit(u64),
        Drop(u64),
        Repeat(u64),
        EndAt(u64),
        ResetAt(u64),
    }

    fn server(fault: Fault) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("one client");
            serve(stream, fault);
        });
        address
    }

    fn serve(mut stream: TcpStream, fault: Fault) {
        let mut buffer = vec![0; 10_000];
        let mut offset = 0;
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut bytes = buffer[..count].to_vec();
            let within = |at: u64| {
                (offset..offset + count as u64)
                    .contains(&at)
                    .then(|| (at - offset) as usize)
            };
            match fault {
                Fault::None => {}
                Fault::FlipBit(at) => {
                    if let Some(at) = within(at) {
                        bytes[at] ^= 0x10;
                    }
                }
                Fault::Drop(at) => {
                    if let Some(at) = within(at) {
                        bytes.remove(at);
                    }
                }
                Fault::Repeat(at) => {
                    if let Some(at) = within(at) {
                        bytes.insert(at, bytes[at]);
                    }
                }
                Fault::EndAt(at) => {
                    if within(at).is_some() {
                        break;
                    }
                }
                Fault::ResetAt(at) => {
                    if within(at).is_some() {
                        // Closing with unread data sends a reset.
                        return;
                    }
                }
            }
            offset += count as u64;
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        // Read on, so that the end arrives as an end and not as a reset.
        while let Ok(1..) = stream.read(&mut buffer) {}
    }

    fn attempt(fault: Fault) -> anyhow::Result<()> {
        let deadline = Deadline::seconds(60);
        echo(connect(server(fault), deadline)?, 300_000, 11, deadline)
    }

    #[test]
    fn a_faithful_echo_passes() {
        attempt(Fault::None).expect("nothing is wrong");
    }

    #[test]
    fn every_corruption_is_found() {
        for (fault, words) in [
            (Fault::FlipBit(123_456), "corrupt at byte 123456"),
            (Fault::Drop(99_999), "corrupt at byte"),
            (Fault::Repeat(5), "corrupt at byte"),
            (Fault::Drop(299_999), "ended at byte 299999"),
            (Fault::EndAt(200_000), "ended at byte"),
            (Fault::ResetAt(0), ""),
        ] {
            let error = format!("{:#}", attempt(fault).expect_err("a fault was injected"));
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn single_rounds_and_the_end() {
        let deadline = Deadline::seconds(60);
        let mut stream = connect(server(Fault::None), deadline).expect("connected");
        echo_once(&mut stream, b"abc").expect("echoed");
        stream.shutdown(Shutdown::Write).expect("half-closed");
        expect_end(&mut stream).expect("ended");
    }

    #[test]
    fn rates_are_positive() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let sender = thread::spawn(move || {
            let mut stream = connect(address, Deadline::seconds(60)).expect("connected");
            send_rate(&mut stream, Duration::ZERO, Duration::from_millis(200)).expect("sent")
        });
        let (mut stream, _) = listener.accept().expect("one client");
        let received = receive_rate(&mut stream, Duration::ZERO, Duration::from_millis(20));
        assert!(received.expect("received") > 0.0);
        let mut rest = vec![0; 65536];
        while let Ok(1..) = stream.read(&mut rest) {}
        assert!(sender.join().expect("no panic") > 0.0);
    }
}
