//! TCP with the echo guest: much data, many connections, and every way to end one.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use labkit::net::stream::{alive, connect, echo, echo_once, expect_end};
use labkit::{Case, Deadline, Lab};

pub(super) const CASES: &[Case] = &[
    Case::new("tcp_echo_64_mib", 150, large),
    Case::new("tcp_parallel_connections", 90, parallel),
    Case::new("tcp_connect_close_500", 90, connect_close),
    Case::new("tcp_half_close_and_reset", 60, endings),
];

const MIB: u64 = 1024 * 1024;

fn large(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let _domain = guest.start_ready()?;
    let deadline = Deadline::seconds(120);
    let start = Instant::now();
    echo(
        connect(guest.port(7), deadline)?,
        64 * MIB,
        lab.seed()?,
        deadline,
    )?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!(
        "64 MiB each way in {seconds:.1} s, every byte compared"
    ))
}

/// Twenty connections, opened and carrying data at the same time.
fn parallel(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(75);
    let seed = lab.seed()?;
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let server = guest.port(7);
            thread::spawn(move || {
                let size = MIB / 4 + number * 1000;
                echo(connect(server, deadline)?, size, seed + number, deadline)
                    .with_context(|| format!("connection {number}"))
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    domain.running()?;
    Ok("20 connections of 256 KiB each way".into())
}

fn connect_close(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let deadline = Deadline::seconds(75);
    let start = Instant::now();
    for number in 0..500_u32 {
        let step = || -> Result<()> {
            let mut stream = connect(guest.port(7), deadline)?;
            // Every other one carries data; the rest only come and go.
            if number % 2 == 0 {
                echo_once(&mut stream, &number.to_be_bytes())?;
                stream.shutdown(Shutdown::Write)?;
                expect_end(&mut stream)?;
            }
            Ok(())
        };
        step().with_context(|| format!("connection {number}"))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    alive(guest.port(7), deadline)?;
    domain.running()?;
    Ok(format!("500 connections in {seconds:.1} s"))
}

fn endings(lab: &Lab) -> Result<String> {
    let guest = lab.echo(2, 16, "");
    let domain = guest.start_ready()?;
    let server = guest.port(7);
    let deadline = Deadline::seconds(50);
    let mut bystander = connect(server, deadline)?;

    // Half-close: the bytes sent before it still come back, followed by the end.
    let mut stream = connect(server, deadline)?;
    stream.write_all(&[7; 100_000])?;
    stream.shutdown(Shutdown::Write)?;
    let mut back = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut back).context("after the half-close")?;
    if back != [7; 100_000] {
        bail!(
            "{} of 100000 bytes came back after the half-close",
            back.len()
        );
    }

    // Reset: a socket closed with unread data sends RST instead of FIN. This happens more often
    // than the guest is likely to have sockets, so that a leak is noticed.
    for _ in 0..50 {
        reset_mid_stream(server, deadline)?;
    }
    echo_once(&mut bystander, b"still here").context("the connection beside the resets")?;

    // A client that never reads stalls only itself.
    let mut stalled = connect(server, deadline)?;
    fill(&mut stalled)?;
    echo_once(&mut bystander, b"not held up").context("the connection beside a full one")?;
    drop(stalled);

    // A port that nobody listens on refuses at once.
    let start = Instant::now();
    match TcpStream::connect_timeout(&guest.port(4), Duration::from_secs(5)) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
        Err(error) => bail!("a closed port: {error} after {:?}", start.elapsed()),
        Ok(_) => bail!("a closed port accepted a connection"),
    }
    alive(server, deadline)?;
    domain.running()?;
    Ok("half-close, 50 resets, a stalled reader, a closed port".into())
}

fn reset_mid_stream(server: SocketAddr, deadline: Deadline) -> Result<()> {
    let mut stream = connect(server, deadline)?;
    stream.write_all(&[1; 20_000])?;
    // Some of the echo must be unread when the socket is closed.
    stream.peek(&mut [0]).context("waiting for the echo")?;
    Ok(())
}

/// Writes until the guest takes no more.
fn fill(stream: &mut TcpStream) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let block = [2; 64 * 1024];
    // dom0's own buffers are a few MiB at most.
    for _ in 0..1024 {
        match stream.write(&block) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("filling a connection"),
        }
    }
    bail!("64 MiB went into a connection whose echo nobody reads")
}
