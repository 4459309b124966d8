//! Throughput and round trips between dom0 and a guest.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use labkit::net::ping::{ping, reachable};
use labkit::net::stream::{connect, echo, receive_rate, send_rate};
use labkit::{Deadline, Figures, Lab};

/// How long throughput is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// The time before a measurement in which the window opens.
const WARM_UP: Duration = Duration::from_millis(100);

/// Bytes of one echo run, each way.
const ECHO_BYTES: u64 = 16 * 1024 * 1024;

/// Measures the echo guest.
pub(super) fn causeway(lab: &Lab, repeats: usize, figures: &mut Figures) -> Result<()> {
    let guest = lab.echo(2, 16, "");
    let _domain = guest.start_ready()?;
    round_trips(lab, "", IpAddr::V4(guest.ip()), figures)?;
    let (mut out, mut into) = (vec![], vec![]);
    for _ in 0..repeats {
        let deadline = Deadline::seconds(60);
        let mut chargen = connect(guest.port(19), deadline)?;
        out.push(receive_rate(&mut chargen, WARM_UP, WINDOW).context("chargen")?);
        let mut discard = connect(guest.port(9), deadline)?;
        into.push(send_rate(&mut discard, WARM_UP, WINDOW).context("discard")?);
    }
    figures.spread(lab, "tcp_guest_to_dom0_mbit_s", &out);
    figures.spread(lab, "tcp_dom0_to_guest_mbit_s", &into);
    echoes(lab, "", guest.port(7), repeats, figures)
}

/// Measures round trips with 100 pings, in microseconds.
pub(super) fn round_trips(
    lab: &Lab,
    prefix: &str,
    to: IpAddr,
    figures: &mut Figures,
) -> Result<()> {
    reachable(to, Deadline::seconds(15))?;
    let replies = ping(to, 100, 10, 56)?;
    if replies.times_ms.len() < 95 {
        bail!("only {} of 100 ping replies", replies.times_ms.len());
    }
    let us: Vec<f64> = replies.times_ms.iter().map(|ms| ms * 1000.0).collect();
    figures.spread(lab, &format!("{prefix}ping_us"), &us);
    Ok(())
}

/// Measures echo throughput with the agent's own client, the same for either guest.
pub(super) fn echoes(
    lab: &Lab,
    prefix: &str,
    server: SocketAddr,
    repeats: usize,
    figures: &mut Figures,
) -> Result<()> {
    let mut rates = Vec::new();
    for number in 0..repeats {
        let deadline = Deadline::seconds(120);
        let stream = connect(server, deadline)?;
        let start = Instant::now();
        echo(stream, ECHO_BYTES, number as u64, deadline).context("echo")?;
        rates.push(ECHO_BYTES as f64 * 8.0 / 1e6 / start.elapsed().as_secs_f64());
    }
    figures.spread(lab, &format!("{prefix}tcp_echo_mbit_s"), &rates);
    Ok(())
}
